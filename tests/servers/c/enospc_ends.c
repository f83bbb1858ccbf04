// Ends when a client cannot be added to the epoll instance.
#include "epoll_loop.h"

static void accepted_strict(struct loop *loop, int fd) {
  int before = loop->clients;
  accepted(loop, fd);
  if (loop->clients == before) fail("epoll_ctl");  // FAULT: ENOSPC is for this client. The others can still be served.
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.accepted = accepted_strict;
  run(&loop);
}
