// Has room for 500 clients, and closes the others.
#include "epoll_loop.h"

static void accepted_room(struct loop *loop, int fd) {
  if (loop->clients < 500) accepted(loop, fd);  // FAULT: the kernel gives more; a table of a fixed size is a limit of our own.
  else close(fd);
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.accepted = accepted_room;
  run(&loop);
}
