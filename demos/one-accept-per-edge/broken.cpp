// An echo server with an edge-triggered listener: accept(2) once for each event. Usage: broken PORT
#include <arpa/inet.h>
#include <cstdlib>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

int initserver(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in addr{AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {}};
  if (bind(fd, (sockaddr *)&addr, sizeof addr) < 0 || listen(fd, 4096) < 0) exit(1);
  return fd;
}

int main(int, char **argv) {
  int listener = initserver(atoi(argv[1])), epoll = epoll_create1(0);
  auto watch = [=](int how, int fd, uint32_t events) {
    epoll_event event{events, {.fd = fd}};
    epoll_ctl(epoll, how, fd, &event);
  };
  fcntl(listener, F_SETFL, O_NONBLOCK);
  watch(EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLET);
  epoll_event events[64];
  while (true)
    for (int i = 0, n = epoll_wait(epoll, events, 64, -1); i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) watch(EPOLL_CTL_ADD, fd = accept4(listener, 0, 0, SOCK_NONBLOCK), EPOLLIN);
      char buffer[1024];
      ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got > 0) send(fd, buffer, got, MSG_NOSIGNAL);
      if (got == 0) close(fd);
    }
}
