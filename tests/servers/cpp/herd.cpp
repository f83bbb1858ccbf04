// 64 threads, each with an epoll instance of its own, which all watch the same listener.
#include <thread>

#include "loop.hpp"

int main(int argc, char **argv) {
  int listener = start(argc, argv);
  std::vector<std::thread> threads;
  // FAULT: a new client wakes all 64, and 63 find nothing. EPOLLEXCLUSIVE for the listener would wake one.
  for (int i = 0; i < 64; i++) threads.emplace_back([listener] { Loop(listener).run(); });
  for (auto &thread : threads) thread.join();
}
