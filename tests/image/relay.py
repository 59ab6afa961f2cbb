"""Join standard input and output to a TCP port on this machine: relay.py PORT.

QEMU's user network runs it for each connection of the guest to 169.254.169.254 (`guestfwd=...-cmd:`).
"""

import os
import selectors
import socket
import sys


def relay(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as server:
        selector = selectors.DefaultSelector()
        selector.register(0, selectors.EVENT_READ)
        selector.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == 0:
                    data = os.read(0, 65536)
                    if data:
                        server.sendall(data)
                    else:
                        selector.unregister(0)
                else:
                    data = server.recv(65536)
                    if not data:
                        return
                    os.write(1, data)


if __name__ == "__main__":
    relay(int(sys.argv[1]))
