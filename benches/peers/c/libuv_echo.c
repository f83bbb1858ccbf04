// libuv: a stream for each client, which first tries to write at once. While something is unsent, nothing is read.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define BUFFER 65536

static char buffer[BUFFER];

typedef struct {
  uv_tcp_t stream;
  uv_write_t write;
  char *unsent;
} client_t;

static void start(client_t *client);

static void closed(uv_handle_t *handle) {
  client_t *client = (client_t *)handle;
  free(client->unsent);
  free(client);
}

static void leave(client_t *client) {
  if (!uv_is_closing((uv_handle_t *)client)) uv_close((uv_handle_t *)client, closed);
}

// Each read is answered before the next one, so one buffer is enough for all clients.
static void lend(uv_handle_t *handle, size_t size, uv_buf_t *to) {
  (void)handle, (void)size;
  *to = uv_buf_init(buffer, BUFFER);
}

static void wrote(uv_write_t *write, int status) {
  client_t *client = (client_t *)write->handle;
  free(client->unsent);
  client->unsent = NULL;
  if (status < 0) leave(client);
  else start(client);
}

static void answer(uv_stream_t *stream, ssize_t n, const uv_buf_t *from) {
  client_t *client = (client_t *)stream;
  if (n < 0) return leave(client);
  if (n == 0) return;
  uv_buf_t all = uv_buf_init(from->base, (unsigned)n);
  int sent = uv_try_write(stream, &all, 1);
  if (sent == n) return;
  if (sent < 0 && sent != UV_EAGAIN) return leave(client);
  size_t taken = sent < 0 ? 0 : (size_t)sent, left = (size_t)n - taken;
  client->unsent = malloc(left);
  if (!client->unsent) abort();
  memcpy(client->unsent, from->base + taken, left);
  uv_buf_t rest = uv_buf_init(client->unsent, (unsigned)left);
  uv_read_stop(stream);
  if (uv_write(&client->write, stream, &rest, 1, wrote) < 0) leave(client);
}

static void start(client_t *client) {
  if (uv_read_start((uv_stream_t *)client, lend, answer) < 0) leave(client);
}

static void accepted(uv_stream_t *listener, int status) {
  if (status < 0) return;
  client_t *client = calloc(1, sizeof *client);
  if (!client) abort();
  uv_tcp_init(listener->loop, &client->stream);
  if (uv_accept(listener, (uv_stream_t *)client) < 0) return leave(client);
  uv_tcp_nodelay(&client->stream, 1);
  start(client);
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: %s PORT\n", argv[0]), 2;
  uv_loop_t *loop = uv_default_loop();
  uv_tcp_t listener;
  struct sockaddr_in at;
  uv_ip4_addr("127.0.0.1", atoi(argv[1]), &at);
  uv_tcp_init(loop, &listener);
  int failed = uv_tcp_bind(&listener, (struct sockaddr *)&at, 0);
  if (!failed) failed = uv_listen((uv_stream_t *)&listener, 4096, accepted);
  if (failed) return fprintf(stderr, "listen: %s\n", uv_strerror(failed)), 1;
  return uv_run(loop, UV_RUN_DEFAULT);
}
