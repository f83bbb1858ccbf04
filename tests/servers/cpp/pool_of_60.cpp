// 60 threads, each of which serves one client at a time.
#include <poll.h>

#include <thread>

#include "loop.hpp"

static void serve(int listener) {
  std::vector<char> bytes(64 * 1024);
  for (;;) {
    int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) {
      poll(nullptr, 0, 100);
      continue;
    }
    ssize_t n;
    while ((n = recv(fd, bytes.data(), bytes.size(), 0)) > 0 || (n < 0 && errno == EINTR)) {
      ssize_t at = 0;
      while (at < n) {
        ssize_t sent = send(fd, bytes.data() + at, n - at, 0);
        if (sent < 0 && errno != EINTR) break;
        if (sent > 0) at += sent;
      }
      if (at < n) break;
    }
    close(fd);
  }
}

int main(int argc, char **argv) {
  int listener = start(argc, argv);
  fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) & ~O_NONBLOCK);
  std::vector<std::thread> threads;
  for (int i = 0; i < 60; i++) threads.emplace_back(serve, listener);  // FAULT: the 61st client waits until another leaves.
  for (auto &thread : threads) thread.join();
}
