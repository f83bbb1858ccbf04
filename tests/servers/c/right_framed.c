// A right server of frames: a thread for each client. Its buffer grows with what has arrived, not with what a header promises.
#include "frames.h"
#include "threads.h"

// Receive the body of a frame behind its header. A part of it is received before there is memory for the next part.
static char *recv_body(int fd, const char *header) {
  size_t end = HEADER + body_of(header), have = HEADER;
  char *frame = malloc(HEADER);
  if (frame) memcpy(frame, header, HEADER);
  while (frame && have < end) {
    size_t part = end - have < BUFFER ? end - have : BUFFER;
    char *larger = realloc(frame, have + part);
    if (!larger || (frame = larger, recv_exactly(fd, frame + have, part) < 0)) {
      free(frame);
      return NULL;
    }
    have += part;
  }
  return frame;
}

static void serve(int fd) {
  char header[HEADER];
  while (recv_exactly(fd, header, HEADER) == 0 && body_of(header) <= LONGEST) {
    char *frame = recv_body(fd, header);
    int failed = !frame || send_blocking(fd, frame, HEADER + body_of(header)) < 0;
    free(frame);
    if (failed) break;
  }
  close(fd);
}

int main(int argc, char **argv) {
  int listener = start(argc, argv, 0);
  for (;;) start_thread(accept_blocking(listener), serve);
}
