// An echo server over poll(2), whose array has room for any descriptor. Usage: mended PORT
#include <arpa/inet.h>
#include <cstdlib>
#include <poll.h>
#include <unistd.h>
#include <vector>

int initserver(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in addr{AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {}};
  if (bind(fd, (sockaddr *)&addr, sizeof addr) < 0 || listen(fd, 4096) < 0) exit(1);
  return fd;
}

int main(int, char **argv) {
  int listener = initserver(atoi(argv[1]));
  for (int i = 0; i < 1024; i++) dup(listener); // As many descriptors as a server with 1024 clients has.
  std::vector<pollfd> fds{{listener, POLLIN, 0}};
  while (true) {
    poll(fds.data(), fds.size(), -1);
    for (size_t i = fds.size(); i-- > 0;) {
      int fd = fds[i].fd;
      if (fds[i].revents == 0) continue;
      if (fd == listener) {
        fds.push_back({accept4(fd, 0, 0, SOCK_NONBLOCK), POLLIN, 0});
        continue;
      }
      char buffer[1024];
      ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got > 0) send(fd, buffer, got, MSG_NOSIGNAL);
      if (got == 0) close(fd), fds.erase(fds.begin() + i);
    }
  }
}
