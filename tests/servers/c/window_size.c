// Has a handler for SIGWINCH, to know how wide the terminal is, and ends when the handler interrupts poll. SIGSTOP and SIGCONT do
// not interrupt poll, other than epoll_wait.
#include "poll_loop.h"

static void window_has_changed(int number) { (void)number; }

static void interrupted_ends(void) {
  fail("poll");  // FAULT: poll is never restarted after a handler, not even with SA_RESTART. EINTR has to be handled.
}

int main(int argc, char **argv) {
  struct poll_loop loop = {.interrupted = interrupted_ends};
  signal(SIGWINCH, window_has_changed);
  poll_run(&loop, start(argc, argv, SOCK_NONBLOCK));
}
