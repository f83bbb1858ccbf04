// Watches EPOLLOUT all the time, level-triggered. A socket is nearly always writable.
#include "epoll_loop.h"

// Receive only when there is something: most events are for EPOLLOUT alone.
static int event_both(struct loop *loop, struct client *client, unsigned events) {
  if (client->unsent) return send_unsent(loop, client);
  return events & ~EPOLLOUT ? receive(loop, client) : 0;
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.watched = EPOLLIN | EPOLLOUT;  // FAULT: epoll_wait never waits. EPOLLOUT is for clients to whom something is unsent.
  loop.event = event_both;
  run(&loop);
}
