// Right echo servers for `io-models trace`: traced WHAT PORT.
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

namespace {

int listener_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) < 0 || listen(fd, 128) < 0) {
    perror("bind or listen");
    exit(1);
  }
  return fd;
}

bool send_all(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes += n, len -= n;
  }
  return true;
}

// Answer what is there, or comes next. Whether the client goes on.
bool serve_once(int fd) {
  static thread_local char buffer[64 << 10];
  ssize_t n = recv(fd, buffer, sizeof buffer, 0);
  if (n < 0 && errno == EINTR) return true;
  return n > 0 && send_all(fd, buffer, n);
}

// A process for each client, with an epoll instance of its own. All instances have the same descriptor and the same number for their
// client, whose descriptor differs.
void own_epolls(int listener) {
  // Nobody waits for the processes.
  signal(SIGCHLD, SIG_IGN);
  for (int next = 100;; next++) {
    int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) continue;
    dup2(fd, next);
    close(fd);
    if (fork() == 0) {
      int epoll = epoll_create1(EPOLL_CLOEXEC);
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u64 = 7;
      epoll_ctl(epoll, EPOLL_CTL_ADD, next, &event);
      while (epoll_wait(epoll, &event, 1, -1) < 1 || serve_once(next)) continue;
      _exit(0);
    }
    close(next);
  }
}

// A thread for each client.
void threads(int listener) {
  for (;;) {
    int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) continue;
    std::thread([fd] {
      while (serve_once(fd)) continue;
      close(fd);
    }).detach();
  }
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: %s WHAT PORT\n", argv[0]), 2;
  std::string what = argv[1];
  int listener = listener_on(atoi(argv[2]));
  if (what == "own-epolls") own_epolls(listener);
  if (what == "first-thread-ends") {
    // The others go on without it.
    std::thread(threads, listener).detach();
    pthread_exit(nullptr);
  }
  threads(listener);
}
