// A level-triggered epoll loop. A server with a fault overrides one of its functions; the others stay right.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

[[noreturn]] inline void fail(const char *call) {
  std::perror(call);
  std::exit(1);
}

// Listen on the port of the command line, without blocking. A client that has gone is an error of send (EPIPE); without
// SIG_IGN, SIGPIPE would end the server.
inline int start(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s PORT\n", argv[0]);
    std::exit(2);
  }
  std::signal(SIGPIPE, SIG_IGN);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(std::atoi(argv[1]));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
  if (listener < 0) fail("socket");
  if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0) fail("setsockopt");
  if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) < 0) fail("bind");
  if (listen(listener, 4096) < 0) fail("listen");
  return listener;
}

struct Client {
  int fd;
  std::string unsent;        // what send did not take; meanwhile nothing is received from this client
  std::string kept;          // what a server keeps of a request that is not complete
  std::size_t received = 0;  // in bytes, since it was accepted
};

class Loop {
 public:
  explicit Loop(int listener) : listener(listener), epoll(epoll_create1(EPOLL_CLOEXEC)), buffer(64 * 1024) {
    if (epoll < 0) fail("epoll_create1");
    if (!watch(EPOLL_CTL_ADD, listener, EPOLLIN, nullptr)) fail("epoll_ctl");
  }
  virtual ~Loop() = default;

  [[noreturn]] void run() {
    for (;;) {
      epoll_event events[64];
      int n = epoll_wait(epoll, events, 64, is_paused ? 100 : -1);
      if (n < 0 && errno != EINTR) fail("epoll_wait");
      if (n == 0) resume_accepting();
      if (n > 0) turn(events, n);
    }
  }

 protected:
  int listener, epoll;
  std::vector<char> buffer;
  bool is_paused = false;  // the listener is not watched, because accept failed for lack of a descriptor or of memory

  // What epoll_wait has reported.
  virtual void turn(epoll_event *events, int n) {
    for (int i = 0; i < n; i++) {
      auto client = static_cast<Client *>(events[i].data.ptr);
      if (!client) accept_all();
      else if (!serve(*client)) leave(client);
    }
  }

  // Answer bytes that have come. False when the client has to be closed.
  virtual bool answer(Client &client, std::string_view bytes) { return send_or_keep(client, bytes); }

  virtual void accepted(int fd) {
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    auto client = new Client{fd, {}, {}};
    if (watch(EPOLL_CTL_ADD, fd, EPOLLIN, client)) return;
    close(fd);
    delete client;
  }

  virtual bool receive(Client &client) {
    ssize_t n = recv(client.fd, buffer.data(), buffer.size(), 0);
    if (n == 0) return false;
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    client.received += n;
    return answer(client, {buffer.data(), static_cast<std::size_t>(n)});
  }

  bool serve(Client &client) { return client.unsent.empty() ? receive(client) : send_unsent(client); }

  bool watch(int operation, int fd, unsigned events, void *client) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = client;
    return epoll_ctl(epoll, operation, fd, &event) == 0;
  }

  bool send_or_keep(Client &client, std::string_view bytes) {
    ssize_t n = send(client.fd, bytes.data(), bytes.size(), 0);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (n < 0) n = 0;
    if (static_cast<std::size_t>(n) == bytes.size()) return true;
    client.unsent = bytes.substr(n);
    return watch(EPOLL_CTL_MOD, client.fd, EPOLLOUT, &client);
  }

  bool send_unsent(Client &client) {
    ssize_t n = send(client.fd, client.unsent.data(), client.unsent.size(), 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    client.unsent.erase(0, n);
    return !client.unsent.empty() || watch(EPOLL_CTL_MOD, client.fd, EPOLLIN, &client);
  }

  void leave(Client *client) {
    close(client->fd);
    delete client;
    resume_accepting();
  }

  void accept_all() {
    for (;;) {
      int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        accepted(fd);
        continue;
      }
      // The clients in the queue keep the listener readable, so it is not watched until a descriptor may be free.
      bool is_shortage = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
      if (is_shortage && watch(EPOLL_CTL_MOD, listener, 0, nullptr)) is_paused = true;
      return;
    }
  }

 private:
  void resume_accepting() {
    if (is_paused && watch(EPOLL_CTL_MOD, listener, EPOLLIN, nullptr)) is_paused = false;
  }
};
