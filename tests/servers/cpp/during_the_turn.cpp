// Edge-triggered clients. When a client has been read until EAGAIN, an event of it that is still there is taken for old.
#include <algorithm>
#include <deque>

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
    std::deque<epoll_event> ready(events, events + n);
    while (!ready.empty()) {
      auto client = static_cast<Client *>(ready.front().data.ptr);
      ready.pop_front();
      if (!client) {
        accept_all();
        continue;
      }
      bool goes_on = read_all(*client);
      epoll_event more[64];
      int n = epoll_wait(epoll, more, 64, 0);
      for (int i = 0; i < n; i++) {
        // FAULT: these bytes may have come after the last recv. An event may only be dropped before the read.
        bool is_end = more[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
        bool is_old = more[i].data.ptr == client && !is_end && client->unsent.empty();
        if (!is_old) ready.push_back(more[i]);
      }
      if (goes_on) continue;
      auto is_of_client = [client](const epoll_event &event) { return event.data.ptr == client; };
      ready.erase(std::remove_if(ready.begin(), ready.end(), is_of_client), ready.end());
      leave(client);
    }
  }

 private:
  bool read_all(Client &client) {
    for (;;) {
      ssize_t n;
      if (!client.unsent.empty()) {
        n = send(client.fd, client.unsent.data(), client.unsent.size(), 0);
        if (n > 0) client.unsent.erase(0, n);
      } else {
        n = recv(client.fd, buffer.data(), buffer.size(), 0);
        if (n == 0) return false;
        if (n > 0) client.unsent.assign(buffer.data(), n);
      }
      if (n < 0 && errno == EAGAIN) return true;
      if (n < 0 && errno != EINTR) return false;
    }
  }
};

int main(int argc, char **argv) { Edge(start(argc, argv)).run(); }
