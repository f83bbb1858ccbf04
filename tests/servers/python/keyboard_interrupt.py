"""Goes on after an exception, whichever it is."""

import signal

from loop import Loop, start

loop = Loop(start())
signal.signal(signal.SIGINT, signal.default_int_handler)
while True:
    try:
        loop.run()
    except BaseException as error:
        print(f"{error!r}: going on", flush=True)  # FAULT: KeyboardInterrupt is one of them. `except Exception` leaves it alone.
