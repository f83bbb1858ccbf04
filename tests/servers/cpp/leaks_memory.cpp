// Remembers each client.
#include "loop.hpp"

struct Memory : Loop {
  using Loop::Loop;

 protected:
  void accepted(int fd) override {
    visits.emplace_back(1024, 'v');  // FAULT: 1 KiB for each client, which nobody removes when it leaves.
    Loop::accepted(fd);
  }

 private:
  std::vector<std::string> visits;
};

int main(int argc, char **argv) { Memory(start(argc, argv)).run(); }
