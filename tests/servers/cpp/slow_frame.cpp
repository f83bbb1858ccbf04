// A server of frames that waits in its event loop for the rest of a frame.
#include <poll.h>

#include "frames.hpp"

struct Framed : Loop {
  using Loop::Loop;

  // FAULT: while one client sends its frame slowly, no other is served. Keep what there is, and go back to the loop.
  static bool receive_exactly(int fd, char *bytes, std::size_t len) {
    while (len > 0) {
      ssize_t n = recv(fd, bytes, len, 0);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
      if (n > 0) bytes += n, len -= n;
      pollfd readable{fd, POLLIN, 0};
      if (n < 0) poll(&readable, 1, -1);
    }
    return true;
  }

  bool receive(Client &client) override {
    std::string frame(HEADER, 0);
    if (!receive_exactly(client.fd, frame.data(), HEADER) || body_of(frame) > LONGEST) return false;
    frame.resize(HEADER + body_of(frame));
    return receive_exactly(client.fd, frame.data() + HEADER, frame.size() - HEADER) && send_or_keep(client, frame);
  }
};

int main(int argc, char **argv) { Framed(start(argc, argv)).run(); }
