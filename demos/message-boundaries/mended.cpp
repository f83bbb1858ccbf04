// Takes a message for complete when all of its length is there, and sends it back. Usage: mended PORT
#include <arpa/inet.h>
#include <cstdlib>
#include <string>
#include <unistd.h>

int initserver(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in addr{AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {}};
  if (bind(fd, (sockaddr *)&addr, sizeof addr) < 0 || listen(fd, 4096) < 0) exit(1);
  return fd;
}

void answer(int fd, std::string message) {
  uint32_t length = htonl(message.size());
  message.insert(0, (char *)&length, 4);
  send(fd, message.data(), message.size(), MSG_NOSIGNAL);
}

int main(int, char **argv) {
  int listener = initserver(atoi(argv[1]));
  char buffer[1024];
  while (true) {
    int fd = accept4(listener, nullptr, nullptr, 0);
    ssize_t got;
    std::string heard;
    while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0) {
      heard.append(buffer, got);
      while (heard.size() >= 4) {
        size_t length = ntohl(*(uint32_t *)heard.data());
        if (heard.size() < 4 + length) break;
        answer(fd, heard.substr(4, length));
        heard.erase(0, 4 + length);
      }
    }
    close(fd);
  }
}
