"""The part of an image's data that a request asks for."""

from collections.abc import Mapping

from node.sdk import Context, Frozen, RangeNotSatisfiable


class Part(Frozen):
    """Bytes of a file."""

    offset: int
    length: int
    size: int
    asked: bool = False
    """Whether a range was asked for."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the header that says which part is sent."""
        if self.length == self.size:
            return {}
        return {"Content-Range": f"bytes {self.offset}-{self.offset + self.length - 1}/{self.size}"}


def byte_range(ctx: Context, size: int) -> Part:
    """Return the single byte range that is asked for; without one, everything.

    Raises:
        RangeNotSatisfiable: 416.
    """
    text = ctx.headers.get("range", "")
    if not text:
        return Part(offset=0, length=size, size=size)
    unit, _equals, span = text.partition("=")
    first, dash, last = span.partition("-")
    numbers = all(part == "" or (part.isascii() and part.isdigit()) for part in (first, last))
    if unit.strip() != "bytes" or not dash or not numbers or not (first or last):
        raise RangeNotSatisfiable(f"Range {text} is not supported")
    if not first:
        length = min(int(last), size)
        return Part(offset=size - length, length=length, size=size, asked=True)
    offset = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if offset >= size or end < offset:
        raise RangeNotSatisfiable(f"Range {text} has no byte of the image's {size}")
    return Part(offset=offset, length=end - offset + 1, size=size, asked=True)
