// Goes on watching its listener when there is no descriptor for one more client.
#include "epoll_loop.h"

static void accept_failed_ignored(struct loop *loop, int error) {
  (void)loop, (void)error;  // FAULT: the client stays in the queue, the listener stays readable, and the loop turns without end.
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.accept_failed = accept_failed_ignored;
  run(&loop);
}
