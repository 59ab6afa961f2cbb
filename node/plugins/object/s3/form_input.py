"""Browser forms: fields of a multipart/form-data body, and the file as a stream.

Everything that decides stands before the file; what follows it is not read.

Source: RFC 7578
"""

import re
from typing import Any

from node.plugins.object.s3.faults import S3Error

_MAX_FIELDS_BYTES = 20 * 1024
_MAX_POLICY_BYTES = 64 * 1024
_BLOCK = 1 << 16
_NAME = re.compile(r'name="((?:[^"\\]|\\.)*)"')
_FILE = re.compile(r'filename="((?:[^"\\]|\\.)*)"')
_BOUNDARY = re.compile(r'boundary="?([^";,]{1,70})"?')


class Form:
    """A form that is read up to its file. `readinto` gives the file's bytes, as a body's stream does."""

    def __init__(self, stream: Any, content_type: str) -> None:
        found = _BOUNDARY.search(content_type)
        if not content_type.lower().startswith("multipart/form-data") or found is None:
            raise (
                S3Error(
                    "MalformedPOSTRequest",
                    "The body of your POST request is not well-formed multipart/form-data.",
                )
                if content_type.lower().startswith("multipart/")
                else S3Error(
                    "PreconditionFailed",
                    "Bucket POST must be of the enclosure-type multipart/form-data",
                    Condition="Bucket POST must be of the enclosure-type multipart/form-data",
                )
            )
        self._stream = stream
        self._end = b"\r\n--" + found.group(1).encode("latin-1")
        self._held = bytearray(b"\r\n")
        self._over = False
        self.filename = ""
        self.content_type = ""
        """Of the file."""
        self.fields: dict[str, str] = {}
        """By name in lower case."""
        self._read_fields()

    def _fill(self) -> bool:
        data = self._stream.read(_BLOCK)
        self._held += data
        return bool(data)

    def _until(self, mark: bytes, most: int) -> bytes:
        """Return what stands before a mark, and go behind it."""
        start = 0
        while (at := self._held.find(mark, start)) < 0:
            start = max(0, len(self._held) - len(mark))
            if len(self._held) > most + _BLOCK:
                raise S3Error(
                    "MaxPostPreDataLengthExceeded",
                    "Your POST request fields preceding the upload file were too large.",
                )
            if not self._fill():
                raise S3Error(
                    "MalformedPOSTRequest",
                    "The body of your POST request is not well-formed multipart/form-data.",
                )
        data = bytes(self._held[:at])
        del self._held[: at + len(mark)]
        return data

    def _read_fields(self) -> None:
        self._until(self._end, _MAX_FIELDS_BYTES)
        total = 0
        while True:
            head = self._until(b"\r\n\r\n", _MAX_FIELDS_BYTES).decode("utf-8", "replace")
            if head.startswith("--"):
                raise S3Error(
                    "InvalidArgument",
                    "POST requires exactly one file upload per request.",
                    ArgumentName="file",
                    ArgumentValue="0",
                )
            name = _NAME.search(head)
            if name is None:
                raise S3Error(
                    "MalformedPOSTRequest",
                    "The body of your POST request is not well-formed multipart/form-data.",
                )
            field = name.group(1).lower()
            if field == "file":
                self._note_file(head)
                return
            value = self._until(self._end, _MAX_POLICY_BYTES).decode("utf-8", "replace")
            total += len(value)
            if total > _MAX_POLICY_BYTES:
                raise S3Error(
                    "MaxPostPreDataLengthExceeded",
                    "Your POST request fields preceding the upload file were too large.",
                )
            self.fields.setdefault(field, value)

    def _note_file(self, head: str) -> None:
        found = _FILE.search(head)
        if found is not None:
            self.filename = found.group(1).replace("\\", "/").rpartition("/")[2]
        for line in head.split("\r\n"):
            name, _colon, value = line.partition(":")
            if name.strip().lower() == "content-type":
                self.content_type = value.strip()

    def readinto(self, view: memoryview) -> int:
        """Read bytes of the file; 0 is its end."""
        while not self._over:
            at = self._held.find(self._end)
            ready = at if at >= 0 else len(self._held) - len(self._end)
            if ready > 0:
                got = min(ready, len(view))
                view[:got] = self._held[:got]
                del self._held[:got]
                return got
            if at == 0:
                self._over = True
            elif not self._fill():
                raise S3Error("IncompleteBody")
        return 0
