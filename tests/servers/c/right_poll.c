// A right server: poll.
#include "poll_loop.h"

int main(int argc, char **argv) {
  struct poll_loop loop = {0};
  poll_run(&loop, start(argc, argv, SOCK_NONBLOCK));
}
