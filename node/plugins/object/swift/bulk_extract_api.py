"""Storing the files of an archive as objects.

Source: https://docs.openstack.org/swift/latest/middleware.html#extract-archive
"""

import mimetypes
import tarfile
import time
import zlib
from collections.abc import Iterator
from typing import IO, cast
from urllib.parse import quote

from node.plugins.object import container_rules
from node.plugins.object.store.contract import Facts
from node.plugins.object.swift import (
    bulk_view,
    expiry_rules,
    limit_rules,
    write_rules,
)
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal, code_of, status_line
from node.plugins.object.tables import Container
from node.sdk import NodeError, Reply

_KINDS = {"tar": "", "tar.gz": "gz", "tar.bz2": "bz2"}
_BLOCK = 1 << 18
_PAUSE_S = 10
_PAX_META = ("SCHILY.xattr.user.meta.", "LIBARCHIVE.xattr.user.meta.")
_PAX_TYPE = ("SCHILY.xattr.user.mime_type", "LIBARCHIVE.xattr.user.mime_type")


def put(call: Call) -> Reply:
    """Store each file of the archive in the body."""
    form = _KINDS.get((call.param("extract-archive") or "").lower().strip("."))
    if form is None:
        raise Refusal(400, "Unsupported archive format", content_type="text/html; charset=UTF-8")
    if call.ctx.content_length is not None and not call.ctx.environ.get("CONTENT_LENGTH"):
        raise Refusal(411)
    kind = bulk_view.format_of(call)
    meta = limit_rules.user_metadata(call.headers, "object", call.section)
    at = expiry_rules.delete_at(call.headers, call.ctx.clock.now_us())
    work = _Extraction(call, form, meta, at)
    return Reply(status=200, body=work.run(kind), content_type=kind)


class _Extraction:
    """One archive on its way."""

    def __init__(self, call: Call, form: str, meta: dict[str, str], delete_at: int | None) -> None:
        self._call = call
        self._form = form
        self._meta = meta
        self._delete_at = delete_at
        self._base = "/".join(filter(None, (call.container_name, call.object_name.rstrip("/"))))
        self._known: dict[str, Container] = {}
        self._made = 0
        self._files = 0
        self._errors: list[tuple[str, str]] = []
        self._failure = 400

    def run(self, kind: str) -> Iterator[bytes]:
        """Store the files, then tell how that went; blanks in between keep the connection."""
        code, text, last, began = 201, "", time.monotonic(), False
        try:
            for _file in self._extract():
                if time.monotonic() - last > _PAUSE_S:
                    yield b" "
                    last, began = time.monotonic(), True
            if self._errors:
                code = self._failure
            elif not self._files:
                code, text = 400, "Invalid Tar File: No Valid Files"
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            code, text = 400, f"Invalid Tar File: {error}"
        except NodeError as error:
            code, text = code_of(error), error.message
        facts = {
            "Number Files Created": self._files,
            "Response Body": text,
            "Response Status": status_line(code),
        }
        yield (b"\r\n\r\n" if began else b"") + bulk_view.render(
            kind, facts, self._errors, "extract"
        )

    def _extract(self) -> Iterator[None]:
        source = cast("IO[bytes]", self._call.ctx.stream)
        with tarfile.open(mode=f"r|{self._form}", fileobj=source) as archive:  # type: ignore[call-overload]
            for member in archive:
                if len(self._errors) >= self._call.section.max_bulk_failures:
                    return
                if not member.isfile():
                    continue
                path = member.name.removeprefix("./").lstrip("/")
                path = f"{self._base}/{path}" if self._base else path
                if "/" not in path:
                    continue
                try:
                    self._store(archive, member, path)
                    self._files += 1
                except NodeError as error:
                    self._failed(path, error)
                yield

    def _failed(self, path: str, error: NodeError) -> None:
        code = code_of(error)
        shown = quote(path, errors="surrogateescape")[:2048]
        self._errors.append((shown, status_line(code)))
        if code == 401 or (isinstance(error, Refusal) and error.text.startswith("More than")):
            raise error
        if code >= 500:
            self._failure = 502

    def _store(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        try:
            path.encode()
        except UnicodeError:
            raise Refusal(412) from None
        if member.size > self._call.section.max_file_size_bytes:
            raise Refusal(413)
        name, _slash, object_name = path.partition("/")
        if not object_name or not name or "\0" in path:
            raise Refusal(412)
        limit_rules.hold_object_name(object_name)
        container = self._container(name)
        source = archive.extractfile(member)
        assert source is not None, "a file has data"
        write_rules.store(
            self._call,
            container,
            object_name,
            iter(lambda: source.read(_BLOCK), b""),
            self._facts(member, object_name),
            member.size,
        )

    def _facts(self, member: tarfile.TarInfo, name: str) -> Facts:
        meta, kind = dict(self._meta), mimetypes.guess_type(name)[0] or "application/octet-stream"
        for key, value in member.pax_headers.items():
            if key in _PAX_TYPE:
                kind = value
            for front in _PAX_META:
                if key.startswith(front):
                    meta[key.removeprefix(front).lower()] = value
        limit_rules.hold_total(meta, self._call.section)
        sys = {} if self._delete_at is None else {"x-delete-at": str(self._delete_at)}
        return Facts(
            etag="",
            content_type=kind,
            meta=meta,
            sys=sys,
            expires_at=expiry_rules.micros(self._delete_at),
        )

    def _container(self, name: str) -> Container:
        """Return a container in which the caller may store objects; made if it may be.

        Raises:
            Refusal: 401, 403; 400, too many were made.
        """
        if name in self._known:
            return self._known[name]
        call = self._call
        found = call.find(call.project_id, name)
        if found is None:
            call.access.require("PUT", call.project_id, None, "container")
            limit_rules.hold_container_name(name)
            self._made += 1
            if self._made > call.section.max_bulk_names:
                most = call.section.max_bulk_names
                raise Refusal(400, f"More than {most} containers to create from tar.")
            found, _new = container_rules.make(call.ctx, call.project_id, name)
        call.access.require("PUT", call.project_id, found, "object")
        self._known[name] = found
        return found
