"""What a witness has promised, on its disk.

Hard part: it is written for each entry that a witness alone makes a majority of, so it costs one sync and no space: two
slots of one file, written in turn. A write that a loss of power cut short damages only the older one.
"""

import os
import struct
import zlib
from pathlib import Path

import msgspec

from node.cluster.witness_vote import Promise
from node.errors import Conflict, MachineFault

PROMISE_FILE = "promise"

_SLOT_BYTES = 4096
_HEADER = struct.Struct(">IIQ")
"""Check sum of the rest, length of the promise, number of the write."""


class PromiseFile:
    """The one promise of a state directory."""

    def __init__(self, directory: Path) -> None:
        """Open the file, and make it at the first start.

        Raises:
            Conflict: 409, it is damaged: what was promised must not be forgotten.
        """
        self._path = directory / PROMISE_FILE
        if not self._path.exists():
            _make(self._path)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        data = os.pread(self._descriptor, 2 * _SLOT_BYTES, 0)
        found = [one for one in map(_read, (data[:_SLOT_BYTES], data[_SLOT_BYTES:])) if one]
        if not found:
            raise Conflict(
                f"{self._path} is damaged, and it holds whom this witness has voted for: empty the "
                "state directory, so that it comes back as another witness"
            )
        self._number, self.promise = max(found, key=lambda one: one[0])

    def keep(self, promise: Promise) -> None:
        """Store a promise; when this returns it survives a loss of power.

        Raises:
            MachineFault: the disk failed; nothing may be promised any more.
        """
        number = self._number + 1
        try:
            os.pwrite(self._descriptor, _slot(number, promise), number % 2 * _SLOT_BYTES)
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise MachineFault(f"{self._path} cannot be written: {error}") from error
        self._number, self.promise = number, promise

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _slot(number: int, promise: Promise) -> bytes:
    data = msgspec.msgpack.encode(promise)
    body = struct.pack(">IQ", len(data), number) + data
    return (struct.pack(">I", zlib.crc32(body)) + body).ljust(_SLOT_BYTES, b"\0")


def _read(slot: bytes) -> tuple[int, Promise] | None:
    if len(slot) < _HEADER.size:
        return None
    check, length, number = _HEADER.unpack_from(slot)
    if length > _SLOT_BYTES - _HEADER.size or zlib.crc32(slot[4 : _HEADER.size + length]) != check:
        return None
    data = slot[_HEADER.size : _HEADER.size + length]
    return number, msgspec.msgpack.decode(data, type=Promise)


def _make(path: Path) -> None:
    aside = path.with_suffix(".new")
    with aside.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(_slot(0, Promise()) + bytes(_SLOT_BYTES))
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
