// What the C servers share: the listener, and receiving and sending on blocking sockets.
#ifndef ECHO_H
#define ECHO_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// How much one recv takes, and how long a server pauses that could not accept for lack of a descriptor or of memory.
enum { BUFFER = 64 * 1024, PAUSE_MS = 100 };

static inline void fail(const char *call) {
  perror(call);
  exit(1);
}

static inline int port_of(int argc, char **argv) {
  if (argc == 2) return atoi(argv[1]);
  fprintf(stderr, "usage: %s PORT\n", argv[0]);
  exit(2);
}

// Listen on the port of the command line. `flags` is 0 or SOCK_NONBLOCK.
static inline int start(int argc, char **argv, int flags) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port_of(argc, argv))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // A client that has gone is an error of send (EPIPE). It must not end the server.
  signal(SIGPIPE, SIG_IGN);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), yes = 1;
  if (listener < 0) fail("socket");
  // The server can start again while its old connections are in TIME_WAIT.
  if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0) fail("setsockopt");
  if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  if (listen(listener, 4096) < 0) fail("listen");
  return listener;
}

// Whether accept failed for lack of something that comes back when a client leaves, here or elsewhere.
static inline int is_shortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// Answers go out at once, also when the client has not acknowledged the one before.
static inline void without_delay(int fd) {
  int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

// Wait for the next client, on a blocking listener. No error is a reason to end: the client may have gone (ECONNABORTED), and
// when descriptors run out, clients wait in the queue of the listener.
static inline int accept_blocking(int listener) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
      without_delay(fd);
      return fd;
    }
    if (is_shortage(errno)) poll(NULL, 0, PAUSE_MS);
  }
}

static inline ssize_t recv_blocking(int fd, char *buffer, size_t size) {
  ssize_t n;
  do n = recv(fd, buffer, size, 0);
  while (n < 0 && errno == EINTR);
  return n;
}

// Send all of it: send may take only a part.
static inline int send_blocking(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t n = send(fd, bytes, len, 0);
    if (n < 0 && errno != EINTR) return -1;
    if (n > 0) bytes += n, len -= n;
  }
  return 0;
}

// Serve one client on a blocking socket, until it ends or an error does.
static inline void echo_blocking(int fd) {
  char buffer[BUFFER];
  ssize_t n;
  while ((n = recv_blocking(fd, buffer, sizeof buffer)) > 0)
    if (send_blocking(fd, buffer, n) < 0) break;
  close(fd);
}
#endif
