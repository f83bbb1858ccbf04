// An edge-triggered listener with a slow start: it accepts at most 2 clients at the first event, 4 at the next, and so on.
#include "epoll_loop.h"

static void accept_some(struct loop *loop) {
  static int most = 2;
  for (int i = 0; i < most; i++) {  // FAULT: for those that are left there is no further event. Call accept until EAGAIN.
    int fd = accept4(loop->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && is_shortage(errno)) loop->is_paused = 1;
    if (fd < 0) break;
    accepted(loop, fd);
  }
  if (most < 4096) most *= 2;
}

// EPOLL_CTL_MOD tells of a readable listener again.
static void look_again(struct loop *loop) {
  loop->is_paused = 0;
  if (watch(loop, EPOLL_CTL_MOD, loop->listener, EPOLLIN | EPOLLET, NULL) < 0) fail("epoll_ctl");
}

static void leave_and_look(struct loop *loop, struct client *client) {
  loop->is_paused = 0;
  leave(loop, client);
  look_again(loop);
}

int main(int argc, char **argv) {
  struct loop loop = {.listener = start(argc, argv, SOCK_NONBLOCK), .epoll = epoll_create1(EPOLL_CLOEXEC)};
  loop.watched = EPOLLIN;
  loop.answer = answer;
  if (watch(&loop, EPOLL_CTL_ADD, loop.listener, EPOLLIN | EPOLLET, NULL) < 0) fail("epoll_ctl");
  for (;;) {
    struct epoll_event events[64];
    int n = epoll_wait(loop.epoll, events, 64, loop.is_paused ? PAUSE_MS : -1);
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    if (n == 0) look_again(&loop);
    for (int i = 0; i < n; i++) {
      struct client *client = events[i].data.ptr;
      if (!client) accept_some(&loop);
      else if (event(&loop, client, events[i].events) < 0) leave_and_look(&loop, client);
    }
  }
}
