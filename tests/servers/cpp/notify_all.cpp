// One thread waits for requests, and 16 others answer them.
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "loop.hpp"

struct Pool : Loop {
  using Loop::Loop;

  void work() {
    for (;;) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [this] { return !ready.empty(); });
      Client *client = ready.front();
      ready.pop_front();
      lock.unlock();
      bool goes_on = answer_one(*client);
      // Only now may the next event of this client come.
      if (!goes_on || !watch(EPOLL_CTL_MOD, client->fd, (client->unsent.empty() ? EPOLLIN : EPOLLOUT) | EPOLLONESHOT, client))
        end(client);
    }
  }

 protected:
  void accepted(int fd) override {
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    auto client = new Client{fd, {}, {}};
    if (!watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, client)) end(client);
  }

  void turn(epoll_event *events, int n) override {
    for (int i = 0; i < n; i++) {
      auto client = static_cast<Client *>(events[i].data.ptr);
      if (!client) {
        accept_all();
        continue;
      }
      std::lock_guard lock(mutex);
      ready.push_back(client);
      changed.notify_all();  // FAULT: all 16 wake up for one request. notify_one wakes one.
    }
  }

 private:
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Client *> ready;

  static bool answer_one(Client &client) {
    char bytes[64 * 1024];
    if (client.unsent.empty()) {
      ssize_t n = recv(client.fd, bytes, sizeof bytes, 0);
      if (n == 0) return false;
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      client.unsent.assign(bytes, n);
    }
    ssize_t n = send(client.fd, client.unsent.data(), client.unsent.size(), 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    client.unsent.erase(0, n);
    return true;
  }

  static void end(Client *client) {
    close(client->fd);
    delete client;
  }
};

int main(int argc, char **argv) {
  Pool pool(start(argc, argv));
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; i++) threads.emplace_back([&pool] { pool.work(); });
  pool.run();
}
