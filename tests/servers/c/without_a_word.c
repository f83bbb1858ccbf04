// Ends when a client leaves that has sent nothing, as if recv had failed.
#include "epoll_loop.h"

static int event_strict(struct loop *loop, struct client *client, unsigned events) {
  char first;
  if (client->received == 0 && recv(client->fd, &first, 1, MSG_PEEK) == 0) {
    fprintf(stderr, "no request\n");
    exit(1);  // FAULT: recv returns 0 at the end of any client. This is no error, and it concerns one client only.
  }
  return event(loop, client, events);
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.event = event_strict;
  run(&loop);
}
