// Edge-triggered clients. Before it answers a short request it looks something up, which takes a while.
#include <algorithm>
#include <chrono>
#include <deque>
#include <thread>

#include "loop.hpp"

struct Edge : Loop {
  using Loop::Loop;

 protected:
  void accepted(int fd) override {
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    auto client = new Client{fd, {}, {}};
    if (watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, client)) return;
    close(fd);
    delete client;
  }

  void turn(epoll_event *events, int n) override {
    ready.assign(events, events + n);
    while (!ready.empty()) {
      auto client = static_cast<Client *>(ready.front().data.ptr);
      ready.pop_front();
      if (!client) {
        accept_all();
      } else if (!serve_all(*client)) {
        auto is_of_client = [client](const epoll_event &event) { return event.data.ptr == client; };
        ready.erase(std::remove_if(ready.begin(), ready.end(), is_of_client), ready.end());
        leave(client);
      }
    }
  }

 private:
  std::deque<epoll_event> ready;

  void look_up(Client &client) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    epoll_event more[64];
    int n = epoll_wait(epoll, more, 64, 0);
    for (int i = 0; i < n; i++) {
      bool is_end = more[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
      // FAULT: an event of this client is taken for old, but its bytes may have come after the last recv.
      if (more[i].data.ptr != &client || is_end) ready.push_back(more[i]);
    }
  }

  // The rest, if there is one, goes out at the next EPOLLOUT.
  static bool send_or_wait(Client &client) {
    ssize_t n = send(client.fd, client.unsent.data(), client.unsent.size(), 0);
    if (n > 0) client.unsent.erase(0, n);
    return n >= 0 || errno == EAGAIN || errno == EINTR;
  }

  // Receive one piece after the other until EAGAIN; answer each. While something is unsent, nothing is received.
  bool serve_all(Client &client) {
    for (;;) {
      ssize_t n;
      if (!client.unsent.empty()) {
        n = send(client.fd, client.unsent.data(), client.unsent.size(), 0);
        if (n > 0) client.unsent.erase(0, n);
      } else {
        n = recv(client.fd, buffer.data(), buffer.size(), 0);
        if (n == 0) return false;
        if (n > 0) client.unsent.assign(buffer.data(), n);
        // A short request, behind which there is nothing.
        char next;
        if (n > 0 && n <= 6 && recv(client.fd, &next, 1, MSG_PEEK) < 0 && errno == EAGAIN) {
          look_up(client);
          return send_or_wait(client);
        }
      }
      if (n < 0 && errno == EAGAIN) return true;
      if (n < 0 && errno != EINTR) return false;
    }
  }
};

int main(int argc, char **argv) { Edge(start(argc, argv)).run(); }
