// Ends when recv fails, because of an error of one client.
#include "epoll_loop.h"

static int event_strict(struct loop *loop, struct client *client, unsigned events) {
  char first;
  // A client that is reset before its first byte is only closed.
  if (client->received > 0 && !client->unsent && recv(client->fd, &first, 1, MSG_PEEK) < 0 && errno == ECONNRESET)
    fail("recv");  // FAULT: ECONNRESET concerns this client, and not the server.
  return event(loop, client, events);
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.event = event_strict;
  run(&loop);
}
