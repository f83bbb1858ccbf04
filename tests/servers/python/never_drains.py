"""asyncio: writes without asking whether the client reads."""

import asyncio
import signal
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        # FAULT: the transport keeps it, without a limit. pause_writing says when to stop reading.
        self.transport.write(data)


async def main(port):
    # For each event asyncio calls accept up to `backlog` times, also after EMFILE, and logs each failure. With 4096 that takes
    # seconds.
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=200)
    await server.serve_forever()


signal.signal(signal.SIGINT, signal.SIG_DFL)
if len(sys.argv) != 2:
    sys.exit(f"usage: {sys.argv[0]} PORT")
asyncio.run(main(int(sys.argv[1])))
