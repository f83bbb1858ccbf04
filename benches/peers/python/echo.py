"""asyncio: a protocol for each client, which is held back while what it has to read is unsent."""

import asyncio
import socket
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()

    def eof_received(self):
        """What is unsent is still sent, and then the transport closes itself."""
        return False


async def main(port):
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if len(sys.argv) != 2:
    sys.exit("usage: echo.py PORT")
asyncio.run(main(int(sys.argv[1])))
