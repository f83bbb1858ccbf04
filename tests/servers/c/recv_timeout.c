// A thread for each client, with a time limit on recv. With one, SIGSTOP and SIGCONT interrupt recv (man 7 signal).
#include "threads.h"
#include <sys/time.h>

static void serve(int fd) {
  char buffer[BUFFER];
  struct timeval minutes = {.tv_sec = 600};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &minutes, sizeof minutes);
  ssize_t n;
  while ((n = recv(fd, buffer, sizeof buffer, 0)) > 0)  // FAULT: EINTR is neither the end of the client nor of its time.
    if (send_blocking(fd, buffer, n) < 0) break;
  close(fd);
}

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  for (;;) start_thread(accept_blocking(listener), serve);
}
