// A thread for each client.
#ifndef THREADS_H
#define THREADS_H
#include "echo.h"
#include <pthread.h>

struct call {
  void (*serve)(int fd);
  int fd;
};

static inline void *serve_call(void *argument) {
  struct call call = *(struct call *)argument;
  free(argument);
  call.serve(call.fd);
  return NULL;
}

// Let a thread serve this client. Where no thread can be had, the client is closed, and the server goes on.
static inline void start_thread(int fd, void (*serve)(int fd)) {
  pthread_attr_t attributes;
  pthread_t thread;
  struct call *call = malloc(sizeof *call);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 4 * BUFFER);
  if (call) *call = (struct call){serve, fd};
  if (!call || pthread_create(&thread, &attributes, serve_call, call) != 0) {
    free(call);
    close(fd);
  }
  pthread_attr_destroy(&attributes);
}
#endif
