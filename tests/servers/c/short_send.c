// A thread for each client. A small answer is sent without a look at how much of it send took.
#include "threads.h"

static void serve(int fd) {
  char buffer[BUFFER];
  ssize_t n;
  while ((n = recv_blocking(fd, buffer, sizeof buffer)) > 0) {
    int result;
    if (n <= 256) {
      do result = send(fd, buffer, n, 0);  // FAULT: also a blocking send may take less: when a signal interrupts it, for one.
      while (result < 0 && errno == EINTR);
    } else {
      result = send_blocking(fd, buffer, n);
    }
    if (result < 0) break;
  }
  close(fd);
}

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  for (;;) start_thread(accept_blocking(listener), serve);
}
