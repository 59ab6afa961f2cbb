"""Holds a virtual address until it is told to end: `vip_holder.py ADDRESS OWN_ADDRESS`. Run as a program."""

import signal
import sys
import threading

from node.cluster.vip import VirtualAddress


def main() -> None:
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: end.set())
    held = VirtualAddress(sys.argv[1], sys.argv[2], lambda: True)
    held.start()
    print("ready", flush=True)
    while not end.wait(0.1):
        pass
    held.stop()


if __name__ == "__main__":
    main()
