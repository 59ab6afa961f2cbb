"""Finds out that a replica or a head died or hangs: one thread asks all of them, over connections of its own.

A process that dies ends its connection, which is seen at once; one that hangs, and a node that is gone, do not answer a
small read in time. A head cannot tell: it holds requests and waits.
"""

import contextlib
import json
import logging
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable

from node.plugins.block.drivers.replicated.nbd import Nbd

log = logging.getLogger("hedgerow.block")

_PERIOD_S = 0.5
_ASK = struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 0, 512)

Dead = Callable[[str], None]
"""Called once with what went wrong, in the probes' thread; must not wait."""


class _Probe:
    """One connection: it is asked, and answers something."""

    def __init__(self, nbd: Nbd, dead: Dead, deadline_s: float) -> None:
        self.socket: socket.socket = nbd.socket
        self.socket.setblocking(False)
        self.dead = dead
        self.deadline_s = deadline_s
        self.asked_at: float | None = None
        self.next_at = 0.0

    def step(self, now: float) -> str:
        """Look at it; return what is wrong with it, "" for nothing."""
        try:
            answered = self._drain()
        except (ssl.SSLWantReadError, BlockingIOError):
            answered = False
        except OSError as error:
            return f"the connection broke: {error}"
        if answered is None:
            return "it ended the connection"
        if answered:
            self.asked_at = None
        if self.asked_at is not None:
            late = now - self.asked_at > self.deadline_s
            return f"it does not answer for {self.deadline_s:.0f} s" if late else ""
        if now >= self.next_at:
            try:
                self.socket.send(_ASK)
            except (ssl.SSLWantWriteError, BlockingIOError):
                pass
            except OSError as error:
                return f"the connection broke: {error}"
            self.asked_at, self.next_at = now, now + _PERIOD_S
        return ""

    def _drain(self) -> bool | None:
        """Read what came; None at the end."""
        found = False
        while True:
            try:
                data = self.socket.recv(4096)
            except (ssl.SSLWantReadError, BlockingIOError):
                return found
            if not data:
                return None
            found = True


class _Ear:
    """The monitor of a head: it tells, unasked, which of its replicas failed a request."""

    def __init__(self, connected: socket.socket, failed: Dead, dead: Dead) -> None:
        self.socket = connected
        self.socket.setblocking(False)
        self.dead = dead
        self._failed = failed
        self._buffer = b""

    def step(self, now: float) -> str:
        """Listen; return what is wrong with the monitor, "" for nothing."""
        del now
        try:
            while data := self.socket.recv(65536):
                self._hear(data)
        except BlockingIOError:
            return ""
        except OSError as error:
            return f"the connection broke: {error}"
        return "it ended the connection"

    def _hear(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if b'"QUORUM_REPORT_BAD"' in line:
                told = json.loads(line).get("data", {})
                if "error" in told:
                    self._failed(str(told.get("node-name", "")))


class Probes:
    """All probes of this node. Start the thread by the first `watch`."""

    def __init__(self, deadline_s: float = 3.0) -> None:
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._probes: dict[tuple[str, str], _Probe | _Ear] = {}
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, group: str, name: str, nbd: Nbd, dead: Dead) -> None:
        """Watch the other side of a connection, which is closed when that ends. `name` is unique in its group."""
        self._add(group, name, _Probe(nbd, dead, self._deadline_s))

    def listen(self, group: str, name: str, monitor: socket.socket, failed: Dead, dead: Dead) -> None:
        """Listen to a head's monitor; `failed` is called with the name of a block node that failed a request."""
        self._add(group, name, _Ear(monitor, failed, dead))

    def _add(self, group: str, name: str, probe: "_Probe | _Ear") -> None:
        if self._stop.is_set():
            probe.socket.close()
            return
        with self._lock:
            old = self._probes.pop((group, name), None)
            self._probes[group, name] = probe
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="block-probes", daemon=True)
                self._thread.start()
        if old is not None:
            old.socket.close()
        self._wake.send(b".")

    def forget(self, group: str) -> None:
        """Watch nothing of a group any more."""
        with self._lock:
            gone = [key for key in self._probes if key[0] == group]
            probes = [self._probes.pop(key) for key in gone]
        for probe in probes:
            probe.socket.close()

    def watched(self, group: str) -> set[str]:
        """Return the names of a group that are watched."""
        with self._lock:
            return {name for of, name in self._probes if of == group}

    def stop(self) -> None:
        """End the thread and all connections. Harmless when repeated."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._wake.send(b".")
        if self._thread is not None:
            self._thread.join(5.0)
        with self._lock:
            probes, self._probes = list(self._probes.values()), {}
        for probe in probes:
            probe.socket.close()
        self._wake.close()
        self._woken.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            now = time.monotonic()
            with self._lock:
                probes = dict(self._probes)
            for key, probe in probes.items():
                why = probe.step(now)
                if why:
                    self._report(key, probe, why)
            self._sleep()

    def _report(self, key: tuple[str, str], probe: "_Probe | _Ear", why: str) -> None:
        with self._lock:
            if self._probes.get(key) is not probe:
                return  # it was forgotten meanwhile, and its socket closed
            del self._probes[key]
        probe.socket.close()
        try:
            probe.dead(why)
        except Exception:
            log.exception("a probe's report failed")

    def _sleep(self) -> None:
        """Wait until somebody has something to say, or it is time to ask."""
        with self._lock:
            sockets = [probe.socket for probe in self._probes.values()]
        poller = select.poll()
        poller.register(self._woken, select.POLLIN)
        for one in sockets:
            if one.fileno() >= 0:
                poller.register(one, select.POLLIN)
        poller.poll(_PERIOD_S * 1000 / 2)
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
