// A child process for each client.
#ifndef CHILDREN_H
#define CHILDREN_H
#include "echo.h"
#include <sys/prctl.h>

// In a new child: it ends when its parent ends, also when the parent has ended already.
static inline void end_with(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) exit(0);
}

// Let a child serve this client. Where fork fails, the client is closed, and the server goes on.
static inline void start_child(int listener, int fd, void (*serve)(int fd)) {
  pid_t parent = getpid();
  if (fork() == 0) {
    end_with(parent);
    close(listener);
    serve(fd);
    exit(0);
  }
  close(fd);
}
#endif
