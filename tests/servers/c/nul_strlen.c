// Takes what it receives for a C string, which ends at a byte of value 0.
#include "epoll_loop.h"

static int answer_string(struct loop *loop, struct client *client, char *bytes, size_t len) {
  char text[BUFFER + 1];
  memcpy(text, bytes, len);
  text[len] = 0;
  size_t answered = strlen(text);  // FAULT: recv has said how many bytes there are; a 0 among them is one of them.
  return answered ? answer(loop, client, text, answered) : 0;
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK)};
  loop.answer = answer_string;
  run(&loop);
}
