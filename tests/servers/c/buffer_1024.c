// Keeps the first request of each client as a string, when it is a word, in a buffer of 1024 bytes, and answers from that buffer.
#include "epoll_loop.h"
#include <ctype.h>

static int is_word(const char *bytes, size_t len) {
  for (size_t i = 0; i < len; i++)
    if (!isalnum((unsigned char)bytes[i])) return 0;
  return 1;
}

static int answer_kept(struct loop *loop, struct client *client, char *bytes, size_t len) {
  char request[1024];
  int is_first = client->received == len;
  if (!is_first || len > sizeof request || !is_word(bytes, len)) return answer(loop, client, bytes, len);
  size_t kept = len < sizeof request ? len : sizeof request - 1;  // FAULT: of 1024 bytes, the last one gives way to the NUL.
  memcpy(request, bytes, kept);
  return answer(loop, client, request, kept);
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.answer = answer_kept;
  run(&loop);
}
