// An echo server over select(2), whose fd_set has room for the descriptors 0 to 1023. Usage: broken PORT
#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <sys/select.h>
#include <unistd.h>
#include <vector>

int initserver(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in addr{AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {}};
  if (bind(fd, (sockaddr *)&addr, sizeof addr) < 0 || listen(fd, 4096) < 0) exit(1);
  return fd;
}

int main(int, char **argv) {
  int listener = initserver(atoi(argv[1]));
  for (int i = 0; i < 1024; i++) dup(listener); // As many descriptors as a server with 1024 clients has.
  std::vector<int> fds{listener};
  while (true) {
    struct { fd_set set; volatile long guard; } memory{};
    for (int fd : fds) FD_SET(fd, &memory.set);
    if (memory.guard != 0) return fputs("FD_SET has written beyond the set\n", stderr), 1;
    select(1024, &memory.set, nullptr, nullptr, nullptr);
    for (size_t i = fds.size(); i-- > 0;) {
      int fd = fds[i];
      if (!FD_ISSET(fd, &memory.set)) continue;
      if (fd == listener) {
        fds.push_back(accept4(fd, 0, 0, SOCK_NONBLOCK));
        continue;
      }
      char buffer[1024];
      ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got > 0) send(fd, buffer, got, MSG_NOSIGNAL);
      if (got == 0) close(fd), fds.erase(fds.begin() + i);
    }
  }
}
