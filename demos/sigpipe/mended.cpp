// An echo server that sends each byte alone, without SIGPIPE. Usage: mended PORT
#include <arpa/inet.h>
#include <cstdlib>
#include <unistd.h>

int initserver(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in addr{AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {}};
  if (bind(fd, (sockaddr *)&addr, sizeof addr) < 0 || listen(fd, 4096) < 0) exit(1);
  return fd;
}

int main(int, char **argv) {
  int listener = initserver(atoi(argv[1]));
  char buffer[1024];
  while (true) {
    int fd = accept4(listener, nullptr, nullptr, 0);
    ssize_t got;
    while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0)
      for (ssize_t i = 0; i < got; i++)
        if (send(fd, buffer + i, 1, MSG_NOSIGNAL) < 0) break;
    close(fd);
  }
}
