"""Looks after its clients in turn, once a second for all of them together."""

from loop import Loop, start


class Polls(Loop):
    def timeout(self):
        return (1000 // (1 + self.clients)) / 1000  # FAULT: from 1000 clients on this is 0 ms, and the loop never sleeps.


Polls(start()).run()
