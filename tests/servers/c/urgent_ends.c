// select: takes the third set for errors. It tells of urgent data, and nothing else of a TCP socket.
#include "select_loop.h"

int main(int argc, char **argv) {
  int listener = start(argc, argv, SOCK_NONBLOCK);
  limit_descriptors();
  FD_SET(listener, &wants_read);
  for (;;) {
    fd_set readable, writable, failed;
    select_wait(listener, &readable, &writable, &failed);
    for (int fd = 0; fd < FD_SETSIZE; fd++) {
      if (FD_ISSET(fd, &failed)) {
        select_close(fd, listener);  // FAULT: urgent data (man 2 send, MSG_OOB) is no error.
        continue;
      }
      if (!FD_ISSET(fd, &readable) && !FD_ISSET(fd, &writable)) continue;
      if (fd == listener) select_accept(listener);
      else if (select_serve(fd) < 0) select_close(fd, listener);
    }
  }
}
