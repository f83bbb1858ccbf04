// Ends when epoll_wait is interrupted. That needs no handler: SIGSTOP and SIGCONT are enough (man 7 signal).
#include "epoll_loop.h"

static void interrupted_ends(void) {
  fail("epoll_wait");  // FAULT: EINTR says that nothing has happened yet; the call has to be made again.
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.interrupted = interrupted_ends;
  run(&loop);
}
