// Edge-triggered clients, with one recv of 24 KiB for each event. Only at the first event of a client, at its end, and from one
// that has sent much already, it receives until EAGAIN.
#include "epoll_loop.h"

// Both directions are watched from the start, so that nothing has to be changed later.
static void accepted_edge(struct loop *loop, int fd) {
  loop->watched = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  accepted(loop, fd);
}

static int event_edge(struct loop *loop, struct client *client, unsigned events) {
  int is_unsent = client->at < client->len, has_ended = events & EPOLLRDHUP;
  int is_new = client->received == 0, is_busy = client->received >= 24 * 1024;
  (void)loop;
  for (;;) {
    ssize_t n;
    if (client->at == client->len) {
      if (!client->unsent && !(client->unsent = malloc(BUFFER))) return -1;
      n = recv(client->fd, client->unsent, is_busy ? BUFFER : 24 * 1024, 0);
      if (n == 0) return -1;
      if (n > 0) client->at = 0, client->len = n, client->received += n;
    } else {
      n = send(client->fd, client->unsent + client->at, client->len - client->at, 0);
      if (n > 0) client->at += n;
      // FAULT: more may be there than one recv has taken, and there is no further event for it.
      if (client->at == client->len && !is_unsent && !has_ended && !is_new && !is_busy) return 0;
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
