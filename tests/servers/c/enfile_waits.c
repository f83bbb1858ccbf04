// Waits for a client of its own to leave when accept fails, also when it is the whole system that has no descriptor.
#include "poll_loop.h"

static void accept_failed_waits(struct poll_loop *loop, int error) {
  poll_accept_failed(loop, error);
  if (error == EMFILE) loop->pause_ms = -1;  // Right: only a client that leaves changes this.
  if (error == ENFILE) loop->pause_ms = -1;  // FAULT: it is over when any process closes a file, so try again after a while.
}

int main(int argc, char **argv) {
  struct poll_loop loop = {.accept_failed = accept_failed_waits};
  poll_run(&loop, start(argc, argv, SOCK_NONBLOCK));
}
