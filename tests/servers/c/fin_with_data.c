// Asks for EPOLLRDHUP, and looks for it first.
#include "epoll_loop.h"

static int event_rdhup(struct loop *loop, struct client *client, unsigned events) {
  if (events & EPOLLRDHUP) return -1;  // FAULT: bytes may have come before the end. Only recv says that none are left.
  return event(loop, client, events);
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK), .watched = EPOLLIN | EPOLLRDHUP};
  loop.event = event_rdhup;
  run(&loop);
}
