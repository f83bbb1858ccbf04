// libevent: a bufferevent for each client. A client that does not read is held back at 1 MiB.
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST (1 << 20)

static void answer(struct bufferevent *client, void *unused) {
  (void)unused;
  struct evbuffer *out = bufferevent_get_output(client);
  evbuffer_add_buffer(out, bufferevent_get_input(client));
  if (evbuffer_get_length(out) > MOST) bufferevent_disable(client, EV_READ);
}

// All is sent.
static void drained(struct bufferevent *client, void *has_ended) {
  if (*(int *)has_ended) {
    free(has_ended);
    bufferevent_free(client);
  } else {
    bufferevent_enable(client, EV_READ);
  }
}

// The client has sent its last byte, or its connection failed. What is unsent is still sent.
static void ended(struct bufferevent *client, short what, void *has_ended) {
  *(int *)has_ended = 1;
  if ((what & BEV_EVENT_EOF) && evbuffer_get_length(bufferevent_get_output(client)) > 0) return;
  free(has_ended);
  bufferevent_free(client);
}

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int length, void *unused) {
  (void)peer, (void)length, (void)unused;
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct bufferevent *client = bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
  int *has_ended = calloc(1, sizeof *has_ended);
  if (!client || !has_ended) abort();
  bufferevent_setcb(client, answer, drained, ended, has_ended);
  bufferevent_enable(client, EV_READ | EV_WRITE);
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: %s PORT\n", argv[0]), 2;
  struct event_base *base = event_base_new();
  struct sockaddr_in at = {
      .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (!base || !evconnlistener_new_bind(base, accepted, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 4096,
                                        (struct sockaddr *)&at, sizeof at))
    return perror("listen"), 1;
  return event_base_dispatch(base);
}
