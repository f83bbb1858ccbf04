// Opens a log for each client, and does not close it.
#include "epoll_loop.h"
#include <fcntl.h>

static void accepted_logged(struct loop *loop, int fd) {
  open("/dev/null", O_WRONLY | O_CLOEXEC);  // FAULT: nobody closes it when the client leaves.
  accepted(loop, fd);
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.accepted = accepted_logged;
  run(&loop);
}
