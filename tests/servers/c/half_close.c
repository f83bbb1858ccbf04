// Asks for EPOLLRDHUP, and closes a client that has ended after one more recv.
#include "epoll_loop.h"

static int event_rdhup(struct loop *loop, struct client *client, unsigned events) {
  char buffer[1024];
  if (client->unsent) return send_unsent(loop, client);
  ssize_t n = recv(client->fd, buffer, sizeof buffer, 0);
  if (n == 0) return -1;
  if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  if (answer(loop, client, buffer, n) < 0) return -1;
  // FAULT: more than one recv may be left to do. Only recv, when it returns 0, says that everything has been received.
  return events & EPOLLRDHUP && !client->unsent ? -1 : 0;
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK), .watched = EPOLLIN | EPOLLRDHUP};
  loop.event = event_rdhup;
  run(&loop);
}
