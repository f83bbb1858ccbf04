// A right server: epoll, level-triggered. The other servers with epoll_loop.h differ from it by one function.
#include "epoll_loop.h"

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  run(&loop);
}
