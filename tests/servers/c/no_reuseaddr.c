// Listens without SO_REUSEADDR.
#include "epoll_loop.h"

int main(int argc, char **argv) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port_of(argc, argv))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  signal(SIGPIPE, SIG_IGN);
  struct loop loop = {.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (loop.listener < 0) fail("socket");
  // FAULT: setsockopt(SO_REUSEADDR) is missing. For a minute after its end, the server cannot start again: its old connections
  // are in TIME_WAIT.
  if (bind(loop.listener, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  if (listen(loop.listener, 4096) < 0) fail("listen");
  run(&loop);
}
