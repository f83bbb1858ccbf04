// A server of frames that takes at most 96 of them before its first answer.
#include "frames.hpp"

struct Framed : Loop {
  using Loop::Loop;
  bool answer(Client &client, std::string_view bytes) override {
    bool is_first = client.received == bytes.size();
    client.kept += bytes;
    std::string answers;
    int found = 0;
    while (std::size_t frame = frame_of(client.kept)) {
      // FAULT: the others are lost. Nothing but the size of the buffer limits how many requests a recv finds.
      if (!is_first || found++ < 96) answers += client.kept.substr(0, frame);
      client.kept.erase(0, frame);
    }
    if (client.kept.size() >= HEADER && body_of(client.kept) > LONGEST) return false;
    return answers.empty() || send_or_keep(client, answers);
  }
};

int main(int argc, char **argv) { Framed(start(argc, argv)).run(); }
