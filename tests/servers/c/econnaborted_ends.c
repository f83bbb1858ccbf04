// Ends when accept says ECONNABORTED.
#include "epoll_loop.h"

static void accept_failed_ends(struct loop *loop, int error) {
  if (error == ECONNABORTED) fail("accept");  // FAULT: a client has given up while it waited. There are others.
  accept_failed(loop, error);
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.accept_failed = accept_failed_ends;
  run(&loop);
}
