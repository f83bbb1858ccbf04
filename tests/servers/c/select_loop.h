// A loop around select(2), for the descriptors below FD_SETSIZE, which is 1024.
#ifndef SELECT_LOOP_H
#define SELECT_LOOP_H
#include "echo.h"
#include <sys/resource.h>
#include <sys/select.h>

static char *unsent[FD_SETSIZE];                   // by descriptor: what send did not take
static size_t unsent_at[FD_SETSIZE], unsent_len[FD_SETSIZE];
static fd_set wants_read, wants_write;             // what to wait for

// With this limit, accept fails with EMFILE before it returns a descriptor for which there is no place in a set.
static inline void limit_descriptors(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur <= FD_SETSIZE) return;
  limit.rlim_cur = FD_SETSIZE;
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0) fail("setrlimit");
}

static inline void select_close(int fd, int listener) {
  FD_CLR(fd, &wants_read);
  FD_CLR(fd, &wants_write);
  free(unsent[fd]);
  unsent[fd] = NULL;
  close(fd);
  FD_SET(listener, &wants_read);
}

// -1 when the client has to be closed.
static inline int select_serve(int fd) {
  static char buffer[BUFFER];
  char *bytes = buffer;
  ssize_t len;
  if (unsent[fd]) {
    bytes = unsent[fd] + unsent_at[fd];
    len = unsent_len[fd] - unsent_at[fd];
  } else {
    len = recv(fd, buffer, sizeof buffer, 0);
    if (len == 0) return -1;
    if (len < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  }
  ssize_t n = send(fd, bytes, len, 0);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return -1;
  if (n < 0) n = 0;
  if (unsent[fd]) {
    unsent_at[fd] += n;
  } else if (n < len) {
    if (!(unsent[fd] = malloc(len - n))) return -1;
    memcpy(unsent[fd], buffer + n, len - n);
    unsent_at[fd] = 0;
    unsent_len[fd] = len - n;
    FD_CLR(fd, &wants_read);
    FD_SET(fd, &wants_write);
  }
  if (unsent[fd] && unsent_at[fd] == unsent_len[fd]) {
    free(unsent[fd]);
    unsent[fd] = NULL;
    FD_SET(fd, &wants_read);
    FD_CLR(fd, &wants_write);
  }
  return 0;
}

static inline void select_accept(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    without_delay(fd);
    FD_SET(fd, &wants_read);
  } else if (is_shortage(errno)) {
    // While the listener is not watched, the clients in its queue do not end the wait.
    FD_CLR(listener, &wants_read);
  }
}

// Wait until something is ready. The sets say what is; `exceptional` says what is watched for exceptions, or is NULL.
static inline void select_wait(int listener, fd_set *readable, fd_set *writable, fd_set *exceptional) {
  for (;;) {
    struct timeval pause = {.tv_usec = PAUSE_MS * 1000};
    *readable = wants_read, *writable = wants_write;
    if (exceptional) *exceptional = wants_read;
    int n = select(FD_SETSIZE, readable, writable, exceptional, FD_ISSET(listener, &wants_read) ? NULL : &pause);
    if (n > 0) return;
    if (n < 0 && errno != EINTR) fail("select");
    if (n == 0) FD_SET(listener, &wants_read);
  }
}
#endif
