// A right server: a child process for each client. The kernel removes a child that has ended, because SIGCHLD is ignored.
#include "children.h"

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  signal(SIGCHLD, SIG_IGN);
  for (;;) start_child(listener, accept_blocking(listener), echo_blocking);
}
