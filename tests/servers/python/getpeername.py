"""A thread for each client, whose address is logged first."""

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
            pass


listener = start()
while True:
    try:
        client, _ = listener.accept()
    except OSError as error:
        if error.errno in SHORTAGE:
            time.sleep(PAUSE_S)
        continue
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # FAULT: ENOTCONN, when the client was reset before it was accepted. The exception ends the loop.
    address = client.getpeername()
    try:
        threading.Thread(target=serve, args=(client,), daemon=True, name=str(address)).start()
    except RuntimeError:
        client.close()
    del client
