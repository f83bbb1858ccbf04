// A right server: epoll, level-triggered. The other servers with loop.hpp differ from it by one function.
#include "loop.hpp"

int main(int argc, char **argv) { Loop(start(argc, argv)).run(); }
