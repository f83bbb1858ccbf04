"""asyncio: writes without asking whether the client reads."""

import asyncio
import signal
import socket
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        # FAULT: the transport keeps it, without a limit. pause_writing says when to stop reading.
        self.transport.write(data)


async def main(port):
    listener = socket.create_server(("127.0.0.1", port))
    # For each event asyncio calls accept up to `backlog` times, also after EMFILE, logs each failure, and sleeps until a second after
    # the first. With 200 of them a busy machine leaves it no time to sleep. The kernel's queue is made longer afterwards.
    server = await asyncio.get_running_loop().create_server(Echo, sock=listener, backlog=1)
    listener.listen(200)
    await server.serve_forever()


signal.signal(signal.SIGINT, signal.SIG_DFL)
if len(sys.argv) != 2:
    sys.exit(f"usage: {sys.argv[0]} PORT")
asyncio.run(main(int(sys.argv[1])))
