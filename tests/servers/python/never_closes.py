"""Forgets a client that has ended, and keeps its socket."""

from loop import Loop, start


class Forgets(Loop):
    def __init__(self, listener):
        super().__init__(listener)
        self.ended = []

    def leave(self, client):
        self.selector.unregister(client.sock)
        # FAULT: without close, the connection stays in CLOSE_WAIT, and the client waits for its end.
        self.ended.append(client.sock)


Forgets(start()).run()
