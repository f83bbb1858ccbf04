// Asks how much there is, and takes that for what recv has received.
#include "poll_loop.h"
#include <sys/ioctl.h>

static ssize_t receive_all(int fd, char *buffer, size_t size) {
  int there = 0;
  if (ioctl(fd, FIONREAD, &there) < 0 || there <= 0 || (size_t)there > size) return recv(fd, buffer, size, 0);
  ssize_t n = recv(fd, buffer, there, 0);
  return n > 0 ? there : n;  // FAULT: recv may return less than there is. Only its result says how much is in the buffer.
}

int main(int argc, char **argv) {
  struct poll_loop loop = {.receive = receive_all};
  poll_run(&loop, start(argc, argv, SOCK_NONBLOCK));
}
