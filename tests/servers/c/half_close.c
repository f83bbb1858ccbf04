// Receives on while something is unsent, up to 1 MiB. When a client has ended, it closes.
#include "epoll_loop.h"

enum { MOST = 1024 * 1024 };

// With small buffers in the kernel, a server of many clients needs less memory.
static void accepted_small(struct loop *loop, int fd) {
  int size = 48 * 1024;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  accepted(loop, fd);
}

static int answer_queue(struct loop *loop, struct client *client, char *bytes, size_t len) {
  size_t unsent = client->len - client->at;
  char *queue = malloc(unsent + len);
  (void)loop;
  if (!queue) return -1;
  if (unsent > 0) memcpy(queue, client->unsent + client->at, unsent);
  memcpy(queue + unsent, bytes, len);
  free(client->unsent);
  client->unsent = queue, client->at = 0, client->len = unsent + len;
  return 0;
}

static int event_both(struct loop *loop, struct client *client, unsigned events) {
  // FAULT: receive says -1 at the end of a client, and the queue is lost. It has to be sent first.
  if (events & ~EPOLLOUT && receive(loop, client) < 0) return -1;
  size_t unsent = client->len - client->at;
  ssize_t n = unsent > 0 ? send(client->fd, client->unsent + client->at, unsent, 0) : 0;
  if (n < 0 && errno != EAGAIN && errno != EINTR) return -1;
  if (n > 0) client->at += n;
  unsent = client->len - client->at;
  unsigned wanted = (unsent > 0 ? EPOLLOUT : 0) | (unsent < MOST ? EPOLLIN : 0);
  return watch(loop, EPOLL_CTL_MOD, client->fd, wanted, client);
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.accepted = accepted_small;
  loop.event = event_both;
  loop.answer = answer_queue;
  run(&loop);
}
