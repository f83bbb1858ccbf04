"""A right server: selectors. The other servers with loop.py differ from it by one method."""

from loop import Loop, start

Loop(start()).run()
