"""A server of frames that answers each piece that it receives."""

from loop import Loop, start

Loop(start()).run()  # FAULT: a piece may be half a frame. The answer comes too early, and a server that does more answers wrongly.
