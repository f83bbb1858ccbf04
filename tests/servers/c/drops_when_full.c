// Keeps at most 1 MiB for a client that does not read.
#include "epoll_loop.h"

enum { MOST = 1024 * 1024 };

// Append to what is unsent. The client is received from all the time.
static int answer_limited(struct loop *loop, struct client *client, char *bytes, size_t len) {
  if (!client->unsent && !(client->unsent = malloc(MOST))) return -1;
  if (client->len + len > MOST) {
    memmove(client->unsent, client->unsent + client->at, client->len -= client->at);
    client->at = 0;
  }
  if (client->len + len > MOST) return 0;  // FAULT: the bytes are lost. To stop receiving would keep them with the client.
  memcpy(client->unsent + client->len, bytes, len);
  client->len += len;
  ssize_t n = send(client->fd, client->unsent + client->at, client->len - client->at, 0);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return -1;
  if (n > 0) client->at += n;
  if (client->at == client->len) {
    free(client->unsent);
    client->unsent = NULL;
    client->at = client->len = 0;
    return 0;
  }
  return watch(loop, EPOLL_CTL_MOD, client->fd, EPOLLIN | EPOLLOUT, client);
}

static int event_limited(struct loop *loop, struct client *client, unsigned events) {
  if (events & EPOLLOUT && client->unsent) {
    if (send_unsent(loop, client) < 0) return -1;
    if (!client->unsent) client->at = client->len = 0;
  }
  char first;
  if (!(events & EPOLLIN)) return 0;
  // The end of a client waits until everything is sent.
  if (client->unsent && recv(client->fd, &first, 1, MSG_PEEK) == 0)
    return watch(loop, EPOLL_CTL_MOD, client->fd, EPOLLOUT, client);
  return receive(loop, client);
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.answer = answer_limited;
  loop.event = event_limited;
  run(&loop);
}
