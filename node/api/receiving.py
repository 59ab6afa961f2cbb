"""Takes large bodies: from the client's stream to where they belong, with their digests, without copying them about.

Hard part: speed. MD5 and SHA-512 each take longer than the disk, so each digest of a large body has a thread of its own
(hashing gives up the interpreter's lock), over buffers that are filled straight from the socket and used again, while
the sink is written to all along. A body that fits one buffer pays for no thread.
"""

import ctypes
import hashlib
import os
import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from node.errors import TooLarge
from node.types import Frozen

BLOCK_BYTES = 1 << 20
_BLOCKS = 6
_WRITE_BACK_BYTES = 8 << 20

Sink = Callable[[memoryview], object]
"""Takes the next part of a body; what it is handed is overwritten as soon as it has returned."""


class Source(Protocol):
    """Where a body comes from: `Context.stream`."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer with what has come; 0 is the end."""


class Received(Frozen):
    """What a body was."""

    size: int
    digests: tuple[str, ...]
    """Hex digests, in the order in which they were asked for."""
    head: bytes
    """The first bytes, at most as many as were asked for."""


def receive(
    stream: Source,
    sink: Sink,
    *,
    digests: Sequence[str] = (),
    limit_bytes: int | None = None,
    head_bytes: int = 0,
) -> Received:
    """Hand a whole body to the sink and return what it was. What the sink raises ends it.

    Raises:
        TooLarge: 413, it is longer than the limit.
        ClientGone: 400, it ended early.
    """
    with _Buffers() as buffers:
        first = buffers.take()
        size = _fill(stream, first.buffer)
        _check(size, limit_bytes)
        head = bytes(first.buffer[: min(size, head_bytes)])
        if size < BLOCK_BYTES:
            whole = first.buffer[:size]
            if size:
                sink(whole)
            return Received(size=size, digests=_digests(whole, digests), head=head)
        hashers = [_Hasher(name) for name in digests]
        try:
            _pass_on(first, size, hashers, sink)
            while got := _fill(stream, (block := buffers.take()).buffer):
                size += got
                _check(size, limit_bytes)
                _pass_on(block, got, hashers, sink)
        finally:
            found = tuple(hasher.finish() for hasher in hashers)
        return Received(size=size, digests=found, head=head)


def _check(size: int, limit_bytes: int | None) -> None:
    if limit_bytes is not None and size > limit_bytes:
        raise TooLarge(f"The body is larger than the limit of {limit_bytes} bytes.")


def _digests(data: memoryview, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(hashlib.new(name, data, usedforsecurity=False).hexdigest() for name in names)


def _fill(stream: Source, buffer: memoryview) -> int:
    """Read a buffer full, or what is left; return how much that was."""
    got = 0
    while got < len(buffer) and (more := stream.readinto(buffer[got:])):
        got += more
    return got


def _pass_on(block: "_Block", size: int, hashers: Sequence["_Hasher"], sink: Sink) -> None:
    data = block.lend(size, len(hashers) + 1)
    for hasher in hashers:
        hasher.update(block)
    sink(data)
    block.let_go()


class FileSink:
    """Writes a body to a file, and has it written to the disk while it grows, so that `sync` has little to wait for.

    `sync_file_range` starts the writing and goes on: an `fdatasync` now and then would wait for the file system's
    journal each time. What goes wrong is told by the one `fdatasync` at the end.
    """

    _START = 2  # SYNC_FILE_RANGE_WRITE

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = self._begun = 0
        self._call = ctypes.CDLL(None).sync_file_range
        self._call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

    def __call__(self, data: memoryview) -> None:
        """Write all of it.

        Raises:
            OSError: it cannot be written.
        """
        self._size += len(data)
        while data:
            data = data[os.write(self._descriptor, data) :]
        new = self._size - self._begun
        if new >= _WRITE_BACK_BYTES:
            self._call(self._descriptor, self._begun, new, self._START)
            self._begun = self._size

    def sync(self) -> None:
        """Make what was written durable.

        Raises:
            OSError: the disk failed, or is full.
        """
        os.fdatasync(self._descriptor)


class _Block:
    """A buffer that is free again when all who use it have let it go."""

    def __init__(self, free: "queue.SimpleQueue[_Block]") -> None:
        self.buffer = memoryview(bytearray(BLOCK_BYTES))
        self.data = self.buffer
        self._free = free
        self._users = 0
        self._lock = threading.Lock()

    def lend(self, size_bytes: int, users: int) -> memoryview:
        self.data = self.buffer[:size_bytes]
        self._users = users
        return self.data

    def let_go(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self._free.put(self)


class _Buffers:
    """The buffers of one body: as many as it needs, up to a limit.

    They and the queue of free ones hold each other, so they are emptied at the end: the collector of garbage would
    keep their megabytes until it comes by.
    """

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[_Block] = queue.SimpleQueue()
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while not self._free.empty():
            self._free.get()

    def take(self) -> _Block:
        if self._free.empty() and self._made < _BLOCKS:
            self._made += 1
            return _Block(self._free)
        return self._free.get()


class _Hasher:
    """One digest in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._digest = hashlib.new(name, usedforsecurity=False)
        self._blocks: queue.SimpleQueue[_Block | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"hash-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            self._digest.update(block.data)
            block.let_go()

    def update(self, block: _Block) -> None:
        self._blocks.put(block)

    def finish(self) -> str:
        self._blocks.put(None)
        self._thread.join()
        return self._digest.hexdigest()
