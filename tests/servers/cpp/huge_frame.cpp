// A server of frames that makes room for a frame when it has its length. Its memory is limited to 1 GiB, as in a container.
#include <sys/resource.h>

#include "frames.hpp"

struct Framed : Loop {
  using Loop::Loop;
  bool answer(Client &client, std::string_view bytes) override {
    client.kept += bytes;
    std::size_t whole = 0;
    while (std::size_t frame = frame_of(std::string_view(client.kept).substr(whole))) whole += frame;
    std::string answers = client.kept.substr(0, whole);
    client.kept.erase(0, whole);
    // FAULT: the client decides how much. std::bad_alloc ends the server.
    if (client.kept.size() >= HEADER) client.kept.reserve(HEADER + body_of(client.kept));
    return answers.empty() || send_or_keep(client, answers);
  }
};

int main(int argc, char **argv) {
  rlimit memory{1 << 30, 1 << 30};
  if (setrlimit(RLIMIT_AS, &memory) < 0) fail("setrlimit");
  Framed(start(argc, argv)).run();
}
