"""Large bodies on their way to a sink: whole, digested, and forgotten afterwards."""

import gc
import hashlib
import random
import threading
import weakref
from pathlib import Path

import pytest

from node.api import receiving
from node.api.receiving import BLOCK_BYTES, FileSink, receive
from node.errors import ClientGone, TooLarge


class Stream:
    """A body that comes in pieces of all sizes."""

    def __init__(self, data: bytes, *, breaks_after: int | None = None) -> None:
        self._data = memoryview(data)
        self._chance = random.Random(len(data))
        self._left = breaks_after

    def readinto(self, buffer: memoryview, /) -> int:
        if self._left is not None and self._left <= 0:
            raise ClientGone("The request body ended early")
        size = min(len(buffer), len(self._data), self._chance.choice((1, 4096, 1 << 22)))
        buffer[:size] = self._data[:size]
        self._data = self._data[size:]
        if self._left is not None:
            self._left -= size
        return size


SIZES = (0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 9 * BLOCK_BYTES + 12345)


@pytest.mark.parametrize("size", SIZES)
def test_a_body_arrives_whole_with_its_digests(size: int, tmp_path: Path) -> None:
    data = random.Random(size).randbytes(size)
    with (tmp_path / "body").open("wb") as file:
        sink = FileSink(file.fileno())
        found = receive(Stream(data), sink, digests=("md5", "sha512"), head_bytes=100)
        sink.sync()
    assert (tmp_path / "body").read_bytes() == data
    assert found.size == size
    assert found.head == data[:100]
    assert found.digests == (hashlib.md5(data).hexdigest(), hashlib.sha512(data).hexdigest())


def test_only_what_is_asked_for_is_hashed() -> None:
    parts: list[bytes] = []
    found = receive(Stream(b"x" * 10), lambda data: parts.append(bytes(data)))
    assert (found.digests, found.head, parts) == ((), b"", [b"x" * 10])


@pytest.mark.parametrize("size", [100, 3 * BLOCK_BYTES])
def test_a_body_over_the_limit_is_refused(size: int) -> None:
    assert receive(Stream(bytes(size)), len, limit_bytes=size).size == size
    with pytest.raises(TooLarge, match=f"limit of {size - 1} bytes"):
        receive(Stream(bytes(size)), len, limit_bytes=size - 1, digests=("md5",))


@pytest.mark.parametrize("after", [0, 10, 2 * BLOCK_BYTES])
def test_nothing_is_left_when_the_client_goes(after: int) -> None:
    threads = threading.active_count()
    with pytest.raises(ClientGone):
        receive(Stream(bytes(4 * BLOCK_BYTES), breaks_after=after), len, digests=("md5",))
    assert threading.active_count() == threads


def test_nothing_is_left_when_the_sink_fails() -> None:
    threads = threading.active_count()

    def full(_data: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        receive(Stream(bytes(4 * BLOCK_BYTES)), full, digests=("md5", "sha512"))
    assert threading.active_count() == threads


def test_its_buffers_are_freed_without_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[object]] = []

    class Watched(receiving._Block):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            made.append(weakref.ref(self))

    monkeypatch.setattr(receiving, "_Block", Watched)
    gc.disable()
    try:
        receive(Stream(bytes(9 * BLOCK_BYTES)), len, digests=("md5", "sha512"))
        assert 2 <= len(made) <= 6
        assert [one for one in made if one() is not None] == []
    finally:
        gc.enable()
