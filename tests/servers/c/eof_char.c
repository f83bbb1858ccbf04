// A child for each client, which looks at each byte, and keeps it in a char: 0xff becomes -1, which is EOF.
#include "children.h"

static void serve(int fd) {
  char buffer[BUFFER];
  ssize_t n;
  while ((n = recv_blocking(fd, buffer, sizeof buffer)) > 0) {
    for (ssize_t i = 0; i < n; i++) {
      signed char c = buffer[i];
      if (c == EOF) exit(0);  // FAULT: EOF is an int that no byte has, but a char can have it.
    }
    if (send_blocking(fd, buffer, n) < 0) break;
  }
}

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  signal(SIGCHLD, SIG_IGN);
  for (;;) start_child(listener, accept_blocking(listener), serve);
}
