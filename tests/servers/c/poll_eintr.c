// Ends when poll is interrupted. No handler is installed, so it needs a debugger, or a library that installs one.
#include "poll_loop.h"

static void interrupted_ends(void) {
  fail("poll");  // FAULT: EINTR says that nothing has happened yet; the call has to be made again.
}

int main(int argc, char **argv) {
  struct poll_loop loop = {.interrupted = interrupted_ends};
  poll_run(&loop, start(argc, argv, SOCK_NONBLOCK));
}
