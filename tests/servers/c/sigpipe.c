// Lets SIGPIPE end the server.
#include "threads.h"

static void serve(int fd) {
  char buffer[1024];
  ssize_t n;
  while ((n = recv_blocking(fd, buffer, sizeof buffer)) > 0)
    if (send_blocking(fd, buffer, n) < 0) break;
  close(fd);
}

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  signal(SIGPIPE, SIG_DFL);  // FAULT: the second send to a client that has gone raises SIGPIPE, which ends the process.
  for (;;) start_thread(accept_blocking(listener), serve);
}
