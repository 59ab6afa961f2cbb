"""Import pysyncobj without what it does to the rest of the process. Whoever imports it imports this too.

pysyncobj 0.3.17 replaces `socket.inet_ntop` of the whole process by a function that works on Windows only; whoever
prints an address afterwards (pyroute2) fails.
"""

import _socket
import socket

import pysyncobj  # noqa: F401 - for its side effect, undone below

socket.inet_ntop = _socket.inet_ntop
