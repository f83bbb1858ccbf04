// An echo server that closes first, and listens without SO_REUSEADDR. Usage: broken PORT
#include <arpa/inet.h>
#include <cstdlib>
#include <unistd.h>

int initserver(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
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
    if ((got = recv(fd, buffer, sizeof buffer, 0)) > 0) send(fd, buffer, got, MSG_NOSIGNAL);
    close(fd); // The client has not closed its own.
  }
}
