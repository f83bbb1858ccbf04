// A loop around poll(2). The same function serves a client wherever it is in the array.
#ifndef POLL_LOOP_H
#define POLL_LOOP_H
#include "echo.h"
#include <fcntl.h>

struct poll_client {
  char *unsent;    // what send did not take; meanwhile nothing is received from this client
  size_t at, len;  // the part of it that is still unsent: [at, len)
};

struct poll_loop {
  struct pollfd *fds;           // fds[0] is the listener
  struct poll_client *clients;  // clients[i] belongs to fds[i]
  int used, capacity;
  int pause_ms;                 // how long the listener is not watched after accept has failed; -1: until a client leaves
  // A server with a fault replaces one of them.
  void (*interrupted)(void);
  void (*accept_failed)(struct poll_loop *, int error);
  ssize_t (*receive)(int fd, char *buffer, size_t size);
};

static inline void poll_accept_failed(struct poll_loop *loop, int error) {
  // While the listener is not watched, the clients in its queue do not end the wait.
  if (is_shortage(error)) loop->fds[0].events = 0;
}

// Accept one client. When more wait, the listener is still readable.
static inline void poll_accept(struct poll_loop *loop) {
  int fd = accept4(loop->fds[0].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    if (errno != EAGAIN) loop->accept_failed(loop, errno);
    return;
  }
  if (loop->used == loop->capacity) {
    int capacity = loop->capacity * 2;
    struct pollfd *fds = realloc(loop->fds, capacity * sizeof *fds);
    if (fds) loop->fds = fds;
    struct poll_client *clients = realloc(loop->clients, capacity * sizeof *clients);
    if (clients) loop->clients = clients;
    if (!fds || !clients) {
      close(fd);
      return;
    }
    loop->capacity = capacity;
  }
  without_delay(fd);
  loop->fds[loop->used] = (struct pollfd){.fd = fd, .events = POLLIN};
  loop->clients[loop->used++] = (struct poll_client){0};
}

static inline ssize_t poll_receive(int fd, char *buffer, size_t size) { return recv(fd, buffer, size, 0); }

// Send the bytes, and keep what the socket does not take.
static inline int poll_send(struct pollfd *fd, struct poll_client *client, const char *bytes, size_t len) {
  ssize_t n = send(fd->fd, bytes, len, 0);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return -1;
  if (n < 0) n = 0;
  if (client->unsent) {
    client->at += n;
  } else if ((size_t)n < len) {
    *client = (struct poll_client){.unsent = malloc(len - n), .len = len - n};
    if (!client->unsent) return -1;
    memcpy(client->unsent, bytes + n, len - n);
  }
  if (client->unsent && client->at == client->len) {
    free(client->unsent);
    client->unsent = NULL;
  }
  fd->events = client->unsent ? POLLOUT : POLLIN;
  return 0;
}

// -1 when the client has to be closed.
static inline int poll_serve(struct poll_loop *loop, struct pollfd *fd, struct poll_client *client) {
  static char buffer[BUFFER];
  if (client->unsent) return poll_send(fd, client, client->unsent + client->at, client->len - client->at);
  ssize_t n = loop->receive(fd->fd, buffer, sizeof buffer);
  if (n == 0) return -1;
  if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  return poll_send(fd, client, buffer, n);
}

static inline void poll_interrupted(void) {}

static inline _Noreturn void poll_run(struct poll_loop *loop, int listener) {
  if (!loop->interrupted) loop->interrupted = poll_interrupted;
  if (!loop->accept_failed) loop->accept_failed = poll_accept_failed;
  if (!loop->receive) loop->receive = poll_receive;
  loop->pause_ms = PAUSE_MS;
  loop->capacity = 64;
  loop->fds = calloc(loop->capacity, sizeof *loop->fds);
  loop->clients = calloc(loop->capacity, sizeof *loop->clients);
  if (!loop->fds || !loop->clients) fail("calloc");
  loop->fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
  loop->used = 1;
  for (;;) {
    int ready = poll(loop->fds, loop->used, loop->fds[0].events ? -1 : loop->pause_ms);
    if (ready < 0 && errno != EINTR) fail("poll");
    if (ready < 0) {
      loop->interrupted();
      continue;
    }
    if (ready == 0) loop->fds[0].events = POLLIN;
    // From the last one on, because the last one takes the place of a client that leaves.
    for (int i = loop->used - 1; i > 0; i--) {
      if (!loop->fds[i].revents || poll_serve(loop, &loop->fds[i], &loop->clients[i]) == 0) continue;
      close(loop->fds[i].fd);
      free(loop->clients[i].unsent);
      loop->fds[i] = loop->fds[--loop->used];
      loop->clients[i] = loop->clients[loop->used];
      loop->fds[0].events = POLLIN;
    }
    if (loop->fds[0].revents & POLLIN) poll_accept(loop);
  }
}
#endif
