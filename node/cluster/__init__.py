"""One log for all nodes: Raft, its journal, and the door through which transactions come in.

Importing pysyncobj 0.3.17 replaces `socket.inet_ntop` of the whole process by a function that works on Windows only;
whoever prints an address afterwards (pyroute2) fails. So it is imported here first, and the damage undone.
"""

import socket

_inet_ntop = socket.inet_ntop
import pysyncobj  # noqa: E402, F401 - for its side effect, see above

socket.inet_ntop = _inet_ntop
