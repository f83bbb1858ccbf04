"""A thread for each client, which reads lines."""

import threading

from loop import start


def serve(client):
    with client, client.makefile("rwb") as stream:
        try:
            for line in stream:  # FAULT: a request without an end of line is never answered.
                stream.write(line)
                stream.flush()
        except OSError:
            pass


listener = start()
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
    del client
