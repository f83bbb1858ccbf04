// Frames: 4 bytes with the length of the body, big-endian, then the body.
#ifndef FRAMES_H
#define FRAMES_H
#include "echo.h"
#include <stdint.h>

// A frame with a longer body is refused: its client is closed. A length from the network must have a bound.
enum { HEADER = 4, LONGEST = 16 * 1024 * 1024 };

static inline size_t body_of(const char *header) {
  uint32_t len;
  memcpy(&len, header, sizeof len);
  return ntohl(len);
}

// Receive exactly so many bytes. -1 at the end, and at an error.
static inline int recv_exactly(int fd, char *buffer, size_t len) {
  while (len > 0) {
    ssize_t n = recv_blocking(fd, buffer, len);
    if (n <= 0) return -1;
    buffer += n, len -= n;
  }
  return 0;
}
#endif
