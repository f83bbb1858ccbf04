// A child for each client, which takes any error of send for the end of the client.
#include "children.h"

static void serve(int fd) {
  char buffer[BUFFER];
  ssize_t n;
  while ((n = recv_blocking(fd, buffer, sizeof buffer)) > 0) {
    for (ssize_t at = 0, sent; at < n; at += sent) {
      sent = send(fd, buffer + at, n - at, 0);
      if (sent < 0) exit(1);  // FAULT: EINTR is no error of the client. The call has to be made again.
    }
  }
}

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  signal(SIGCHLD, SIG_IGN);
  for (;;) start_child(listener, accept_blocking(listener), serve);
}
