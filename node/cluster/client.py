"""The API workers' way to the log: propose a transaction over the unix socket and wait for its outcome.

Each thread that waits has a connection of its own, taken from a pool: no hand-over between threads (measured
against one shared connection with a reader thread, see benchmarks/commits.py). When the core process restarts, a
request whose answer was lost is sent again with the same bytes: its request id makes that safe.
"""

import contextlib
import os
import random
import socket
import time
from pathlib import Path

from node.cluster.submit import error_of
from node.cluster.wire import LENGTH, MAX_FRAME_BYTES, Answered, FrameError, decode_answer, frame
from node.errors import TooLarge, Unavailable

SOCKET_FILE = "core.sock"
"""Name of the socket in a node's state directory."""

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5
_READ_PAUSE_S = 0.1
_RETRIED = frozenset({"shutting_down", "no_quorum", "timeout"})


class _Link:
    """One connection, used by one thread at a time."""

    __slots__ = ("_seq", "sock")

    def __init__(self, path: str, timeout_s: float) -> None:
        self._seq = 0
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(timeout_s)
            self.sock.connect(path)
        except OSError:
            self.sock.close()
            raise

    def ask(self, txn: bytes | None, timeout_s: float) -> Answered:
        """Send a transaction, or None for a fresh read, and read its answer; after an error the link is of no use."""
        self._seq += 1
        deadline_s = time.monotonic() + timeout_s
        self.sock.settimeout(timeout_s)
        self.sock.sendall(frame((self._seq, txn)))
        answer = decode_answer(self._receive(deadline_s))
        if answer.client_seq != self._seq:
            raise FrameError(
                f"Answer {answer.client_seq} came to request {self._seq}: {answer.message}"
            )
        return answer

    def _receive(self, deadline_s: float) -> bytes:
        data = self._some(deadline_s)
        while len(data) < LENGTH.size:
            data += self._some(deadline_s)
        (length,) = LENGTH.unpack_from(data)
        if length > MAX_FRAME_BYTES:
            raise FrameError(f"An answer of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
        while len(data) < LENGTH.size + length:
            data += self._some(deadline_s)
        return data[LENGTH.size :]

    def _some(self, deadline_s: float) -> bytes:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.sock.settimeout(left_s)
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionResetError("The core process closed the connection")
        return data


class ProposalClient:
    """Thread-safe; may be made before a fork and used after it."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._idle: list[_Link] = []
        self._pid = os.getpid()

    def propose(self, txn: bytes, timeout_s: float) -> bytes:
        """Return the encoded outcome of an encoded transaction.

        Raises:
            Unavailable: 503, no answer in time; the transaction may have been applied, repeat it as it is.
            DiskFull: 507, and the transaction does not free space.
            TooLarge: 413.
        """
        if len(txn) > MAX_FRAME_BYTES // 2:
            raise TooLarge(f"A transaction of {len(txn)} bytes is too large")
        deadline_s = time.monotonic() + timeout_s
        pause_s = _FIRST_PAUSE_S
        while True:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise Unavailable(
                    f"No answer from the log in {timeout_s:.1f} s; the request may have been applied: repeat it"
                )
            answer = self._try(txn, left_s)
            if answer is not None and answer.status == "ok" and isinstance(answer.outcome, bytes):
                return answer.outcome
            if answer is not None and answer.outcome not in _RETRIED:
                raise error_of(str(answer.outcome), answer.message)
            if answer is None and self._forget_idle():
                continue  # perhaps it was only an old connection
            time.sleep(
                min(pause_s * random.uniform(0.5, 1.0), max(0.0, deadline_s - time.monotonic()))
            )
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def read_index(self, timeout_s: float) -> bool:
        """Wait until reads of the local rows see all that was acknowledged before, on any node.

        False: the core process does not answer, or there is no leader or quorum; reads may be old.
        """
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            answer = self._try(None, left_s)
            if answer is not None:
                return answer.status == "ok"
            if not self._forget_idle():
                time.sleep(min(_READ_PAUSE_S, left_s))
        return False

    def _try(self, txn: bytes | None, timeout_s: float) -> Answered | None:
        """Ask once; None means that the connection failed."""
        link = None
        try:
            link = self._take(timeout_s)
            answer = link.ask(txn, timeout_s)
        except (OSError, FrameError):
            if link is not None:
                link.sock.close()
            return None
        self._idle.append(link)
        return answer

    def _take(self, timeout_s: float) -> _Link:
        if self._pid != os.getpid():
            # After a fork the parent's connections stay the parent's.
            self._pid, self._idle = os.getpid(), []
        try:
            return self._idle.pop()
        except IndexError:
            return _Link(self._path, timeout_s)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._forget_idle()

    def _forget_idle(self) -> bool:
        """Close the idle connections and say whether there were any."""
        found = False
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().sock.close()
                found = True
        return found
