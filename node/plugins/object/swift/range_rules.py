"""Ranges of bytes, as clients ask for them.

Source: RFC 9110, 14.1 and 14.2.
"""

import itertools
from collections.abc import Iterator, Sequence

from node.sdk import Frozen

_MOST = 50
_MOST_OVERLAPS = 2
_MOST_STEPS_BACK = 8


class Span(Frozen):
    """Bytes from `offset` on."""

    offset: int
    length: int

    def content_range(self, size: int) -> str:
        """Return the value of Content-Range."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{size}"


def parse(header: str) -> list[tuple[int | None, int | None]] | None:
    """Return (first, last) pairs; (None, n) are the last n bytes. None: no ranges that can be understood."""
    unit, equals, text = header.replace(" ", "").partition("=")
    if unit.lower() != "bytes" or not equals:
        return None
    found: list[tuple[int | None, int | None]] = []
    for word in text.split(","):
        first, dash, last = word.partition("-")
        good = all(not part or (part.isascii() and part.isdigit()) for part in (first, last))
        if not dash or not good or not (first or last):
            return None
        pair = (int(first) if first else None, int(last) if last else None)
        if pair[0] is not None and pair[1] is not None and pair[1] < pair[0]:
            return None
        found.append(pair)
    return found


def spans(pairs: Sequence[tuple[int | None, int | None]], size: int) -> list[Span]:
    """Return what of the ranges there is in so many bytes; nothing: they cannot be satisfied, or are an attack."""
    found = list(_spans(pairs, size))
    if len(pairs) > _MOST:
        return []
    ordered = sorted(found, key=lambda span: span.offset)
    overlaps = sum(one.offset + one.length > two.offset for one, two in itertools.pairwise(ordered))
    back = sum(one.offset > two.offset for one, two in itertools.pairwise(found))
    return [] if overlaps > _MOST_OVERLAPS or back > _MOST_STEPS_BACK else found


def _spans(pairs: Sequence[tuple[int | None, int | None]], size: int) -> Iterator[Span]:
    for first, last in pairs:
        if first is None:
            length = min(last or 0, size)
            if length:
                yield Span(offset=size - length, length=length)
        elif first < size:
            end = size - 1 if last is None else min(last, size - 1)
            yield Span(offset=first, length=end - first + 1)
