"""Copies between replicas over NBD: fill an empty one, or make those equal that a dead head left behind.

Any value of a write that nobody acknowledged is right, as long as it stays: so the first member's is taken, and the
others are given it, before anybody reads. Where each of them has a log since they were equal, only what the logs name
is compared; else everything that is no hole on both sides.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from node.plugins.block.drivers.replicated.nbd import ALLOCATION, MOST_BYTES, Nbd
from node.plugins.block.drivers.replicated.peers import Answer
from node.sdk import Unavailable

_HOLE_AND_ZERO = 3
_DIRTY = 1

Part = tuple[int, int]
"""(offset, length)"""
Dial = Callable[[str, Answer, Sequence[str]], Nbd]
"""Called as dial(node id, its answer, contexts): connect to what a replica exports."""
Stop = Callable[[], bool]


class Pace:
    """Limits a copy to so many bytes a second; 0 is no limit."""

    def __init__(self, bytes_per_s: int = 0, stop: Stop = lambda: False) -> None:
        self._rate = bytes_per_s
        self._stop = stop
        self._due = time.monotonic()

    def took(self, length: int) -> None:
        """Wait as long as a copy of this length should take.

        Raises:
            Unavailable: 503, the copy is not wanted any more.
        """
        if self._stop():
            raise Unavailable("The copy is cut off: it will begin again")
        if self._rate:
            self._due = max(self._due, time.monotonic() - 1.0) + length / self._rate
            time.sleep(max(0.0, self._due - time.monotonic()))


def bitmap_context(name: str) -> str:
    """Return the NBD context of a dirty bitmap."""
    return f"qemu:dirty-bitmap:{name}"


def dirty_parts(nbd: Nbd, bitmaps: Iterable[str]) -> list[Part]:
    """Return what any of the bitmaps names."""
    return union(
        (extent.offset, extent.length)
        for name in bitmaps
        for extent in nbd.extents(bitmap_context(name))
        if extent.flags & _DIRTY
    )


def data_parts(nbd: Nbd) -> list[Part]:
    """Return what may hold anything but zeros."""
    return union(
        (extent.offset, extent.length)
        for extent in nbd.extents(ALLOCATION)
        if extent.flags & _HOLE_AND_ZERO != _HOLE_AND_ZERO
    )


def union(parts: Iterable[Part]) -> list[Part]:
    """Return the parts in order, joined where they touch."""
    found: list[Part] = []
    for offset, length in sorted(parts):
        if found and offset <= found[-1][0] + found[-1][1]:
            begin = found[-1][0]
            found[-1] = (begin, max(found[-1][1], offset + length - begin))
        else:
            found.append((offset, length))
    return found


def pieces(parts: Iterable[Part], most: int = MOST_BYTES) -> Iterator[Part]:
    """Yield the parts cut into pieces that one request can carry."""
    for offset, length in parts:
        for begin in range(offset, offset + length, most):
            yield begin, min(most, offset + length - begin)


def copy(source: Nbd, target: Nbd, parts: Iterable[Part], pace: Pace) -> int:
    """Copy parts; return how many bytes that were. Zeros become holes.

    Raises:
        NbdError: one of the two failed.
        Unavailable: 503, the copy was cut off.
    """
    copied = 0
    for offset, length in pieces(parts):
        data = source.read(offset, length)
        if data.count(0) == length:
            target.write_zeroes(offset, length)
        else:
            target.write(offset, data)
        copied += length
        pace.took(length)
    target.flush()
    return copied


def mend(source: Nbd, target: Nbd, parts: Iterable[Part]) -> list[Part]:
    """Make the target equal to the source in these parts; return the pieces that differed."""
    differed: list[Part] = []
    for offset, length in pieces(parts, 1 << 20):
        data = source.read(offset, length)
        if target.read(offset, length) != data:
            target.write(offset, data)
            differed.append((offset, length))
    target.flush()
    return differed


def equalise(gaps: Mapping[str, Answer], dial: Dial) -> int:
    """Give the first replica's contents to all others, where they may differ; return how many pieces did.

    Raises:
        NbdError: one of them failed.
    """
    has_logs = all(gap.has_log for gap in gaps.values())
    contexts = {
        node: [bitmap_context(name) for name in gap.bitmaps] if has_logs else [ALLOCATION]
        for node, gap in gaps.items()
    }
    first, *others = gaps
    differed = 0
    parts: list[Part] = []
    opened: dict[str, Nbd] = {}
    try:
        for node, gap in gaps.items():
            opened[node] = dial(node, gap, contexts[node])
        if has_logs:
            parts = union(
                p for node, gap in gaps.items() for p in dirty_parts(opened[node], gap.bitmaps)
            )
        for node in others:
            if not has_logs:
                parts = union([*data_parts(opened[first]), *data_parts(opened[node])])
            differed += len(mend(opened[first], opened[node], parts))
    finally:
        for nbd in opened.values():
            nbd.close()
    return differed
