"""A right server: a thread for each client."""

import socket
import threading
import time

from loop import PAUSE_S, SHORTAGE, start


def serve(client):
    with client:
        try:
            while received := client.recv(65536):
                client.sendall(received)
        except OSError:
            # The client has gone.
            pass


listener = start()
while True:
    try:
        client, _ = listener.accept()
    except OSError as error:
        # Clients wait in the queue of the listener until others leave.
        if error.errno in SHORTAGE:
            time.sleep(PAUSE_S)
        continue
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        threading.Thread(target=serve, args=(client,), daemon=True).start()
    except RuntimeError:
        # There can be no more threads now.
        client.close()
    # Otherwise this copy would keep the connection open until the next client comes.
    del client
