"""Byte ranges of reads and of copies.

Source: RFC 9110, section 14
"""

import re

from node.plugins.object.s3.faults import S3Error
from node.sdk import Frozen

_ONE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Span(Frozen):
    """Bytes `first` to `last`, both included, of `size`."""

    first: int
    last: int
    size: int

    @property
    def length(self) -> int:
        """Return how many bytes they are."""
        return self.last - self.first + 1

    @property
    def header(self) -> str:
        """Return the Content-Range."""
        return f"bytes {self.first}-{self.last}/{self.size}"


def span_of(header: str, size: int) -> Span | None:
    """Return the range of a Range header; None where it is to be ignored, as more than one range is.

    Raises:
        S3Error: InvalidRange, no byte of it is there.
    """
    found = _ONE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        count = min(int(last), size)
        begin, end = size - count, size - 1
    else:
        begin, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < begin:
            return None
    if begin >= size or begin > end:
        raise S3Error(
            "InvalidRange",
            RangeRequested=header,
            ActualObjectSize=size,
            headers={"Content-Range": f"bytes */{size}"},
        )
    return Span(first=begin, last=end, size=size)


def copy_span(header: str, size: int) -> Span:
    """Return the range of an x-amz-copy-source-range, which must be all there.

    Raises:
        S3Error: InvalidArgument, InvalidRange.
    """
    found = _ONE.fullmatch(header.strip())
    if found is None or "" in found.groups() or int(found.group(1)) > int(found.group(2)):
        raise S3Error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last.",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=header,
        )
    first, last = int(found.group(1)), int(found.group(2))
    if last >= size:
        raise S3Error(
            "InvalidRange" if first >= size else "InvalidArgument",
            f"Range specified is not valid for source object of size: {size}",
        )
    return Span(first=first, last=last, size=size)
