// Takes EAGAIN of recv for an error of the client.
#include "poll_loop.h"

static ssize_t receive_strict(int fd, char *buffer, size_t size) {
  ssize_t n = recv(fd, buffer, size, 0);
  if (n < 0 && errno == EAGAIN) return 0;  // FAULT: what poll reported may be gone (man 2 select, BUGS). The client is closed.
  return n;
}

int main(int argc, char **argv) {
  struct poll_loop loop = {.receive = receive_strict};
  poll_run(&loop, start(argc, argv, SOCK_NONBLOCK));
}
