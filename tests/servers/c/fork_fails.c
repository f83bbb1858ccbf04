// Ends when fork fails.
#include "children.h"

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  pid_t server = getpid();
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    int fd = accept_blocking(listener);
    pid_t child = fork();
    if (child < 0) fail("fork");  // FAULT: EAGAIN says that there are too many processes now. Close this client, and go on.
    if (child == 0) {
      end_with(server);
      close(listener);
      echo_blocking(fd);
      exit(0);
    }
    close(fd);
  }
}
