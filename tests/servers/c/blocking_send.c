// An event loop with blocking sends: recv is called only when there is something, but send waits for the client.
#include "epoll_loop.h"

static int answer_blocking(struct loop *loop, struct client *client, char *bytes, size_t len) {
  (void)loop;
  while (len > 0) {
    ssize_t n = send(client->fd, bytes, len, 0);
    if (n < 0 && errno == EAGAIN) {
      struct pollfd writable = {.fd = client->fd, .events = POLLOUT};
      poll(&writable, 1, -1);  // FAULT: nobody is served while one client does not read.
    } else if (n < 0 && errno != EINTR) {
      return -1;
    }
    if (n > 0) bytes += n, len -= n;
  }
  return 0;
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.answer = answer_blocking;
  run(&loop);
}
