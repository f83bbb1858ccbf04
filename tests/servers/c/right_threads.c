// A right server: a thread for each client.
#include "threads.h"

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  for (;;) start_thread(accept_blocking(listener), echo_blocking);
}
