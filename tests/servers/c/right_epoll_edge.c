// A right server: epoll, edge-triggered. An edge is reported once: accept, recv and send are called until they say EAGAIN.
#include "epoll_loop.h"

// Both directions are watched from the start, so that nothing has to be changed later.
static void accepted_edge(struct loop *loop, int fd) {
  loop->watched = EPOLLIN | EPOLLOUT | EPOLLET;
  accepted(loop, fd);
}

static int event_edge(struct loop *loop, struct client *client, unsigned events) {
  (void)loop, (void)events;
  for (;;) {
    ssize_t n;
    if (client->at == client->len) {
      if (!client->unsent && !(client->unsent = malloc(BUFFER))) return -1;
      n = recv(client->fd, client->unsent, BUFFER, 0);
      if (n == 0) return -1;
      if (n > 0) client->at = 0, client->len = n;
    } else {
      n = send(client->fd, client->unsent + client->at, client->len - client->at, 0);
      if (n > 0) client->at += n;
    }
    if (n < 0 && errno == EAGAIN) return 0;
    if (n < 0 && errno != EINTR) return -1;
  }
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.accepted = accepted_edge;
  loop.event = event_edge;
  run(&loop);
}
