// A server of frames that makes a list of the frames that it has found, which has room for 96.
#include "frames.hpp"

struct Framed : Loop {
  using Loop::Loop;
  bool answer(Client &client, std::string_view bytes) override {
    client.kept += bytes;
    std::string answers;
    int found = 0;
    while (std::size_t frame = frame_of(client.kept)) {
      // FAULT: the others are lost. Nothing limits how many requests a recv finds but the size of the buffer.
      if (found++ < 96) answers += client.kept.substr(0, frame);
      client.kept.erase(0, frame);
    }
    if (client.kept.size() >= HEADER && body_of(client.kept) > LONGEST) return false;
    return answers.empty() || send_or_keep(client, answers);
  }
};

int main(int argc, char **argv) {
  Framed loop(start(argc, argv));
  loop.run();
}
