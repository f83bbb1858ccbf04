"""A level-triggered selectors loop. A server with a fault overrides one of its methods; the others stay right."""

import errno
import selectors
import signal
import socket
import sys

SHORTAGE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
PAUSE_S = 0.1


def start():
    """Listen on the port of the command line."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} PORT")
    # Ctrl-C ends the server like any other program, and not with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    listener.listen(4096)
    return listener


class Client:
    def __init__(self, sock):
        self.sock = sock
        self.unsent = b""  # While there is something, nothing is received from this client.


class Loop:
    def __init__(self, listener):
        self.listener = listener
        self.listener.setblocking(False)
        self.selector = selectors.EpollSelector()
        self.selector.register(listener, selectors.EVENT_READ)
        self.is_paused = False
        self.clients = 0

    def run(self):
        while True:
            ready = self.selector.select(self.timeout())
            if not ready and self.is_paused:
                self.resume_accepting()
            for key, _ in ready:
                if key.data is None:
                    self.accept()
                elif not self.serve(key.data):
                    self.leave(key.data)

    def timeout(self):
        return PAUSE_S if self.is_paused else None

    def accept(self):
        try:
            sock, _ = self.listener.accept()
        except OSError as error:
            # The clients in the queue keep the listener readable, so it is not watched until a descriptor may be free.
            if error.errno in SHORTAGE and not self.is_paused:
                self.selector.unregister(self.listener)
                self.is_paused = True
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.selector.register(sock, selectors.EVENT_READ, Client(sock))
            self.clients += 1
        except OSError:
            sock.close()

    def resume_accepting(self):
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.is_paused = False

    def serve(self, client):
        """Whether the client stays."""
        try:
            if not client.unsent:
                received = client.sock.recv(65536)
                if not received:
                    return False
                client.unsent = self.answer(received)
            self.send(client)
        except BlockingIOError:
            pass
        except OSError:
            return False
        self.selector.modify(client.sock, selectors.EVENT_WRITE if client.unsent else selectors.EVENT_READ, client)
        return True

    def answer(self, received):
        return received

    def send(self, client):
        """Send what the socket takes, and keep the rest."""
        sent = client.sock.send(client.unsent) if client.unsent else 0
        client.unsent = client.unsent[sent:]

    def leave(self, client):
        self.selector.unregister(client.sock)
        client.sock.close()
        self.clients -= 1
        if self.is_paused:
            self.resume_accepting()
