// Resets its clients when SIGTERM ends it, in order to be free of TIME_WAIT.
#include "epoll_loop.h"

// Without SO_LINGER, close sends what is unsent, and then the end.
static void end(int number) {
  (void)number;
  struct linger reset = {.l_onoff = 1, .l_linger = 0};
  for (int fd = 3; fd < 1024; fd++) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);  // FAULT: close sends RST.
  _exit(0);
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  signal(SIGTERM, end);
  run(&loop);
}
