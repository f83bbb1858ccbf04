// A right server of frames. It answers each frame when it is complete, however many a recv has found.
#include "frames.hpp"

struct Framed : Loop {
  using Loop::Loop;
  bool answer(Client &client, std::string_view bytes) override {
    client.kept += bytes;
    std::size_t whole = 0;
    while (std::size_t frame = frame_of(std::string_view(client.kept).substr(whole))) whole += frame;
    std::string_view rest = std::string_view(client.kept).substr(whole);
    if (rest.size() >= HEADER && body_of(rest) > LONGEST) return false;
    std::string answers = client.kept.substr(0, whole);
    client.kept.erase(0, whole);
    return answers.empty() || send_or_keep(client, answers);
  }
};

int main(int argc, char **argv) { Framed(start(argc, argv)).run(); }
