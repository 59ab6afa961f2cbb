"""Taking a `multipart/form-data` body apart while it comes in.

Source: RFC 7578.
"""

from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import BytesParser

from node.sdk import BadRequest

_BLOCK = 1 << 16
_HEADERS_BYTES = 1 << 14
_ENDS = (b"\r\n", b"--")
"""What follows a boundary: another part, or the end."""


def parameters(value: str) -> tuple[str, dict[str, str]]:
    """Return the value and the parameters of a header like Content-Disposition."""
    message = Message()
    message["content-type"] = value
    given = message.get_params(failobj=[], header="content-type", unquote=True)
    if not given:
        return "", {}
    return given[0][0].lower(), {name.lower(): text for name, text in given[1:]}


class Part:
    """One field or file. `blocks` must be read to its end before the next part."""

    def __init__(self, headers: Message, blocks: Iterator[bytes]) -> None:
        kind, given = parameters(headers.get("content-disposition", ""))
        self.is_field = kind == "form-data"
        self.name = given.get("name", "")
        self.filename = given.get("filename", "")
        self.content_type = headers.get("content-type", "")
        self.content_encoding = headers.get("content-encoding", "")
        self.blocks = blocks


def parts(read: Callable[[int], bytes], boundary: str) -> Iterator[Part]:
    """Yield the parts of a body.

    Raises:
        BadRequest: 400, it does not begin with the boundary, or ends in the middle.
    """
    feed = _Feed(read)
    first = b"--" + boundary.encode("latin-1", "replace")
    while not feed.line():  # blank lines before the first boundary
        feed.take_line()
    if feed.take_line().rstrip() != first:
        raise BadRequest("invalid starting boundary")
    mark = b"\r\n" + first
    while True:
        headers = BytesParser().parsebytes(
            feed.until(b"\r\n\r\n", _HEADERS_BYTES), headersonly=True
        )
        part = Part(headers, feed.up_to(mark))
        yield part
        for _block in part.blocks:  # what its reader left of it
            pass
        if feed.take_line().startswith(b"--"):
            return


class _Feed:
    """What has come in and was not taken yet."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._held = b""

    def _more(self) -> None:
        block = self._read(_BLOCK)
        if not block:
            raise BadRequest("the form ended in the middle")
        self._held += block

    def line(self) -> bytes:
        """Return the next line without taking it."""
        while b"\n" not in self._held:
            if len(self._held) > _HEADERS_BYTES:
                raise BadRequest("invalid starting boundary")
            self._more()
        return self._held.partition(b"\n")[0].rstrip(b"\r")

    def take_line(self) -> bytes:
        """Return the next line; the last one may lack its end."""
        while b"\n" not in self._held:
            block = self._read(_BLOCK)
            if not block:
                line, self._held = self._held, b""
                return line
            self._held += block
        line, _end, self._held = self._held.partition(b"\n")
        return line.rstrip(b"\r")

    def until(self, mark: bytes, most: int) -> bytes:
        """Return what comes before a mark, which is taken too."""
        self._held = self._held.removeprefix(b"\r\n") if self._held.startswith(mark) else self._held
        while mark not in self._held:
            if len(self._held) > most:
                raise BadRequest("the headers of a field are too long")
            self._more()
        found, _mark, self._held = self._held.partition(mark)
        return found

    def up_to(self, mark: bytes) -> Iterator[bytes]:
        """Yield what comes before a mark, which is taken too."""
        while True:
            at = self._held.find(mark)
            while at >= 0:
                end = at + len(mark)
                while len(self._held) < end + len(_ENDS[0]):
                    self._more()
                if self._held[end : end + len(_ENDS[0])] in _ENDS:
                    if at:
                        yield self._held[:at]
                    self._held = self._held[end:]
                    return
                at = self._held.find(mark, end)  # data that only begins like the mark
            safe = len(self._held) - len(mark) + 1
            if safe > 0:
                block, self._held = self._held[:safe], self._held[safe:]
                yield block
            self._more()
