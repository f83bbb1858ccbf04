// A right echo server with one thing that limits it, for `io-models doctor`: limited WHAT PORT.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

std::string limit;
std::mutex everything;
std::atomic<int> clients{0};

bool is(const char *what) { return limit == what; }

void set(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

int listener_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (is("buffers")) {
    set(fd, SOL_SOCKET, SO_SNDBUF, 2048);
    set(fd, SOL_SOCKET, SO_RCVBUF, 2048);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) < 0 || listen(fd, is("backlog") ? 1 : 4096) < 0) {
    perror("bind or listen");
    exit(1);
  }
  return fd;
}

bool send_all(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t n = send(fd, bytes, len, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes += n, len -= n;
  }
  return true;
}

bool answer(int fd, const char *bytes, size_t len) {
  // In two calls, of which Nagle's algorithm keeps the second back until the first is acknowledged.
  if (is("nagle") && len > 1) return send_all(fd, bytes, 1) && send_all(fd, bytes + 1, len - 1);
  return send_all(fd, bytes, len);
}

// Serve what is there. A client is served by a blocking socket: each has a thread, or was seen to be readable.
bool serve_once(int fd) {
  static thread_local char buffer[64 << 10];
  ssize_t n = recv(fd, buffer, sizeof buffer, 0);
  if (n < 0 && errno == EINTR) return true;
  if (n <= 0) return false;
  // Another program disturbs the second turn. A turn has 64 clients, and it is the last of them that tells which turn it is.
  if (is("second-turn") && (clients - 32) / 64 == 1) usleep(1000);
  if (is("prints")) {
    printf("%zd bytes from client %d\n", n, fd);
    fflush(stdout);
  }
  // Faults: of a long request a part is answered, or it ends the server.
  if (is("cuts") && n > 1000) n = 1000;
  if (is("crashes") && n > 1000) abort();
  return answer(fd, buffer, n);
}

int accepted(int listener) {
  int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd >= 0) clients++;
  if (fd >= 0 && !is("nagle")) set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  return fd;
}

// A thread for each client.
void threads(int listener) {
  for (;;) {
    int fd = accepted(listener);
    if (fd < 0) continue;
    std::thread([fd] {
      while (serve_once(fd)) continue;
      close(fd);
    }).detach();
  }
}

// One thread serves all clients with blocking writes. A client that does not read would keep the others waiting; those of doctor always read.
void loop(int port) {
  int listener = listener_on(port), epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener;
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    epoll_event events[64];
    int n = epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      event.data.fd = fd == listener ? accepted(listener) : fd;
      if (fd == listener) {
        if (event.data.fd >= 0) epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
        continue;
      }
      if (is("calls")) {
        // Stop watching it, ask how much there is, and look at its flags, for each request.
        int there = 0;
        socklen_t size = sizeof there;
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event);
        ioctl(fd, FIONREAD, &there);
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &there, &size);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
      }
      std::unique_lock<std::mutex> lock(everything, std::defer_lock);
      if (is("lock")) {
        // A lookup that takes a while, and that one thread makes at a time.
        lock.lock();
        usleep(100);
      }
      if (!serve_once(fd)) close(fd);
    }
  }
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: %s WHAT PORT\n", argv[0]), 2;
  signal(SIGPIPE, SIG_IGN);
  limit = argv[1];
  int port = atoi(argv[2]);
  if (is("restricted")) {
    // The first that it may use.
    cpu_set_t may, one;
    int first = 0;
    sched_getaffinity(0, sizeof may, &may);
    while (!CPU_ISSET(first, &may)) first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    sched_setaffinity(0, sizeof one, &one);
  }
  if (is("wake-ups")) threads(listener_on(port));
  std::vector<std::thread> others;
  for (int i = 1; i < (is("lock") || is("restricted") ? 4 : 1); i++) others.emplace_back(loop, port);
  loop(port);
}
