// A level-triggered epoll loop. A server with a fault replaces one of its functions; the others stay right.
#ifndef EPOLL_LOOP_H
#define EPOLL_LOOP_H
#include "echo.h"
#include <sys/epoll.h>

struct client {
  int fd;
  size_t received;  // in bytes, since it was accepted
  char *unsent;     // what send did not take; meanwhile nothing is received from this client
  size_t at, len;   // the part of it that is still unsent: [at, len)
};

struct loop {
  int listener, epoll;
  int is_paused;     // the listener is not watched, because accept failed for lack of a descriptor or of memory
  int clients;
  unsigned watched;  // what is watched of a client: EPOLLIN, unless the server asks for more
  // The functions that a server may replace. Those that return int return -1 when the client has to be closed.
  void (*interrupted)(void);
  void (*accept_failed)(struct loop *, int error);
  void (*accepted)(struct loop *, int fd);
  int (*event)(struct loop *, struct client *, unsigned events);
  int (*answer)(struct loop *, struct client *, char *bytes, size_t len);
  void (*leave)(struct loop *, struct client *);
};

static inline int watch(struct loop *loop, int operation, int fd, unsigned events, void *client) {
  struct epoll_event event = {.events = events, .data.ptr = client};
  return epoll_ctl(loop->epoll, operation, fd, &event);
}

// Not to watch the listener is what keeps the loop from turning without end: the clients in its queue keep it readable.
static inline void pause_accepting(struct loop *loop) {
  if (watch(loop, EPOLL_CTL_MOD, loop->listener, 0, NULL) < 0) fail("epoll_ctl");
  loop->is_paused = 1;
}

static inline void resume_accepting(struct loop *loop) {
  if (!loop->is_paused) return;
  if (watch(loop, EPOLL_CTL_MOD, loop->listener, EPOLLIN, NULL) < 0) fail("epoll_ctl");
  loop->is_paused = 0;
}

static inline void accept_failed(struct loop *loop, int error) {
  if (is_shortage(error)) pause_accepting(loop);
}

static inline void accepted(struct loop *loop, int fd) {
  struct client *client = calloc(1, sizeof *client);
  without_delay(fd);
  // Without memory for one more client, this client is closed, and the others are served.
  if (client && watch(loop, EPOLL_CTL_ADD, fd, loop->watched, client) == 0) {
    client->fd = fd;
    loop->clients++;
    return;
  }
  free(client);
  close(fd);
}

static inline void accept_all(struct loop *loop) {
  for (;;) {
    int fd = accept4(loop->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      loop->accepted(loop, fd);
    } else {
      if (errno != EAGAIN) loop->accept_failed(loop, errno);
      return;
    }
  }
}

static inline void leave(struct loop *loop, struct client *client) {
  close(client->fd);
  free(client->unsent);
  free(client);
  loop->clients--;
  resume_accepting(loop);
}

// Send, and keep what the socket does not take.
static inline int answer(struct loop *loop, struct client *client, char *bytes, size_t len) {
  ssize_t n = send(client->fd, bytes, len, 0);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return -1;
  if (n < 0) n = 0;
  if ((size_t)n == len) return 0;
  client->at = 0;
  client->len = len - n;
  client->unsent = malloc(client->len);
  if (!client->unsent) return -1;
  memcpy(client->unsent, bytes + n, client->len);
  return watch(loop, EPOLL_CTL_MOD, client->fd, EPOLLOUT, client);
}

static inline int send_unsent(struct loop *loop, struct client *client) {
  ssize_t n = send(client->fd, client->unsent + client->at, client->len - client->at, 0);
  if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  client->at += n;
  if (client->at < client->len) return 0;
  free(client->unsent);
  client->unsent = NULL;
  return watch(loop, EPOLL_CTL_MOD, client->fd, loop->watched, client);
}

static inline int receive(struct loop *loop, struct client *client) {
  static char buffer[BUFFER];
  ssize_t n = recv(client->fd, buffer, sizeof buffer, 0);
  if (n == 0) return -1;
  if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  client->received += n;
  return loop->answer(loop, client, buffer, n);
}

static inline int event(struct loop *loop, struct client *client, unsigned events) {
  (void)events;
  return client->unsent ? send_unsent(loop, client) : receive(loop, client);
}

static inline void interrupted(void) {}

static inline _Noreturn void run(struct loop *loop) {
  if (!loop->watched) loop->watched = EPOLLIN;
  if (!loop->interrupted) loop->interrupted = interrupted;
  if (!loop->accept_failed) loop->accept_failed = accept_failed;
  if (!loop->accepted) loop->accepted = accepted;
  if (!loop->event) loop->event = event;
  if (!loop->answer) loop->answer = answer;
  if (!loop->leave) loop->leave = leave;
  loop->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (loop->epoll < 0) fail("epoll_create1");
  if (watch(loop, EPOLL_CTL_ADD, loop->listener, EPOLLIN, NULL) < 0) fail("epoll_ctl");
  for (;;) {
    struct epoll_event events[64];
    int n = epoll_wait(loop->epoll, events, 64, loop->is_paused ? PAUSE_MS : -1);
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    if (n < 0) loop->interrupted();
    if (n == 0) resume_accepting(loop);
    for (int i = 0; i < n; i++) {
      struct client *client = events[i].data.ptr;
      if (!client) accept_all(loop);
      else if (loop->event(loop, client, events[i].events) < 0) loop->leave(loop, client);
    }
  }
}
#endif
