// Keeps the first request of each client, when it is a word, in a buffer of a page, and answers from that buffer.
#include <algorithm>
#include <cctype>

#include "loop.hpp"

struct Paged : Loop {
  using Loop::Loop;
  bool answer(Client &client, std::string_view bytes) override {
    char page[4096];
    bool is_first = client.received == bytes.size();
    bool is_word = std::all_of(bytes.begin(), bytes.end(), [](unsigned char byte) { return std::isalnum(byte); });
    if (!is_first || !is_word || bytes.size() > sizeof page) return send_or_keep(client, bytes);
    std::size_t kept = bytes.copy(page, sizeof page - 1);  // FAULT: of 4096 bytes, the last one gives way to the NUL.
    return send_or_keep(client, {page, kept});
  }
};

int main(int argc, char **argv) { Paged(start(argc, argv)).run(); }
