// Serves one client after the other.
#include "echo.h"

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  for (;;) echo_blocking(accept_blocking(listener));  // FAULT: a client that is silent keeps all others waiting.
}
