"""Guests that check what they read: a writer behind QEMU's own NBD client, which waits while a head is replaced."""

import random
import threading
import time
from pathlib import Path

from node.plugins.block.drivers.replicated.nbd import Nbd, NbdError
from node.plugins.block.drivers.replicated.process import StorageDaemon
from node.plugins.block.drivers.replicated.qmp import connect_unix

BLOCK = 4096
_HOLD_S = 600


class Guest:
    """One disk with numbered blocks. What is acknowledged is read again, by this one and by whoever comes after it."""

    def __init__(self, directory: Path, disk: Path, memory: "Memory", seed: int) -> None:
        self.memory = memory
        self.writes = 0
        self.reads = 0
        self.longest_s = 0.0
        self.error = ""
        self._random = random.Random(seed)
        self._daemon = StorageDaemon(directory, f"guest-{seed}")
        self._stop = threading.Event()
        name = f"guest-{seed}.sock"
        client = f"server.type=unix,server.path={disk},export=vol,reconnect-delay={_HOLD_S}"
        self._daemon.start(
            [
                "--blockdev", f"driver=nbd,node-name=disk,{client},open-timeout=60",
                "--nbd-server", f"addr.type=unix,addr.path={name}",
                "--export", "nbd,id=disk,node-name=disk,name=disk,writable=on",
            ]
        )  # fmt: skip
        self._disk = Nbd(connect_unix(directory / name, 120.0), "disk")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._step()
        except NbdError as error:
            if not self._stop.is_set():
                self.error = f"the guest saw an error: {error}"
        except AssertionError as error:
            self.error = str(error)

    def _step(self) -> None:
        place = self._random.randrange(len(self.memory.valid))
        began = time.monotonic()
        if self._random.random() < 0.3:
            self.memory.check(place, self._disk.read(place * BLOCK, BLOCK))
            self.reads += 1
        else:
            number = self.memory.send(place)
            self._disk.write(place * BLOCK, number.to_bytes(8, "big") * (BLOCK // 8))
            self.memory.acknowledge(place, number)
            self.writes += 1
        self.longest_s = max(self.longest_s, time.monotonic() - began)

    def end(self) -> None:
        """Stop after the request that is on its way."""
        self._stop.set()
        self._thread.join(60)
        hangs = self._thread.is_alive()
        self.kill()
        assert not hangs, "the guest hangs"

    def kill(self) -> None:
        """Die in the middle of a request."""
        self._stop.set()
        self._daemon.kill()
        self._thread.join(30)
        self._disk.close()


class Memory:
    """What a disk may hold: for each block the value acknowledged last, and those sent since."""

    def __init__(self, blocks: int) -> None:
        self.valid: list[set[int]] = [{0} for _ in range(blocks)]
        self._number = 0

    def send(self, place: int) -> int:
        self._number += 1
        self.valid[place].add(self._number)
        return self._number

    def acknowledge(self, place: int, number: int) -> None:
        self.valid[place] = {number}

    def check(self, place: int, data: bytes) -> None:
        """Judge a block that was read; from now on it is what it is."""
        found = int.from_bytes(data[:8], "big")
        assert data == data[:8] * (BLOCK // 8), f"block {place} is torn"
        assert found in self.valid[place], f"block {place} holds {found}, not {self.valid[place]}"
        self.valid[place] = {found}
