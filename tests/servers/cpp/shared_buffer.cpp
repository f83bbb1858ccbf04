// Receives from all clients that are ready, then answers all of them. Those that have sent much share a large buffer.
#include <array>

#include "loop.hpp"

struct TwoSteps : Loop {
  using Loop::Loop;
  void turn(epoll_event *events, int n) override {
    struct Received {
      Client *client;
      char *bytes;
      ssize_t len;
    };
    std::vector<Received> all;
    static std::array<char, 4096> own[64];
    for (int i = 0; i < n; i++) {
      auto client = static_cast<Client *>(events[i].data.ptr);
      if (!client) {
        accept_all();
      } else if (!client->unsent.empty()) {
        if (!send_unsent(*client)) leave(client);
      } else {
        // FAULT: the large buffer holds the bytes of one client only, until they are answered.
        bool much = client->received >= 1000;
        char *bytes = much ? buffer.data() : own[i].data();
        ssize_t len = recv(client->fd, bytes, much ? buffer.size() : own[i].size(), 0);
        if (len > 0) client->received += len;
        if (len < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        all.push_back({client, bytes, len});
      }
    }
    for (auto [client, bytes, len] : all)
      if (len <= 0 || !send_or_keep(*client, {bytes, static_cast<std::size_t>(len)})) leave(client);
  }
};

int main(int argc, char **argv) { TwoSteps(start(argc, argv)).run(); }
