// A right server with another protocol, as in the first programs of many courses: each piece is answered with "ok".
#include "threads.h"

static void serve(int fd) {
  char buffer[BUFFER];
  while (recv_blocking(fd, buffer, sizeof buffer) > 0)
    if (send_blocking(fd, "ok", 2) < 0) break;
  close(fd);
}

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  for (;;) start_thread(accept_blocking(listener), serve);
}
