// A child for each client, which nobody waits for.
#include "children.h"

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  // FAULT: without wait, and without SIGCHLD ignored, each child stays as a zombie until the server ends.
  for (;;) start_child(listener, accept_blocking(listener), echo_blocking);
}
