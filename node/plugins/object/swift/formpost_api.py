"""Uploads from a form on a page, which a signature allows in place of a token.

Source: https://docs.openstack.org/swift/latest/api/form_post_middleware.html
"""

import mimetypes
from collections.abc import Iterator
from urllib.parse import quote, unquote

from node.plugins.object.store.contract import Facts
from node.plugins.object.swift import (
    expiry_rules,
    limit_rules,
    multipart_form,
    signature_rules,
    write_rules,
)
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal, code_of, status_line, title
from node.sdk import BadRequest, NodeError, Reply

_FIELD_BYTES = 4096


def is_form(call: Call) -> bool:
    """Return whether a request is the submission of a form."""
    kind, given = multipart_form.parameters(call.headers.get("content-type", ""))
    return kind == "multipart/form-data" and "boundary" in given


def post(call: Call) -> Reply:
    """Store the files of a form, and send the browser where the form says."""
    _kind, given = multipart_form.parameters(call.headers["content-type"])
    form = _Form(call)
    try:
        code, message = form.take(multipart_form.parts(call.ctx.stream.read, given["boundary"]))
    except BadRequest as error:
        raise Refusal(400, f"FormPost: {error.message}") from None
    redirect = form.fields.get("redirect")
    if not redirect:
        text = status_line(code)
        if message:
            text += f"\r\nFormPost: {message.title()}"
        return Reply(status=code, body=text.encode(), content_type="text/plain")
    redirect += "&" if "?" in redirect else "?"
    redirect += f"status={code}&message={quote(message)}"
    page = f'<html><body><p><a href="{quote(redirect, safe=":/?&=%#+,;@")}">Continue</a></p></body></html>'
    return Reply(
        status=303, body=page.encode(), headers={"Location": redirect}, content_type="text/html"
    )


class _Form:
    """What has come of a form."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.fields: dict[str, str] = {}
        self._files = 0

    def take(self, parts: Iterator[multipart_form.Part]) -> tuple[int, str]:
        """Store the files; return the status and what is wrong.

        Raises:
            BadRequest: 400, the form is malformed.
            Refusal: 401, it is not signed, or too old.
        """
        code, message = 0, ""
        for part in parts:
            if not (part.is_field and part.filename):
                self._field(part)
                continue
            self._files += 1
            if self._files > self._number("max_file_count"):
                return 400, "max file count exceeded"
            self._allow()
            try:
                self._store(part)
                code = 201
            except NodeError as error:
                if isinstance(error, BadRequest):
                    raise
                code = code_of(error)
                return code, error.message if error.message != title(code) else ""
        return (code, message) if code else (400, "no files to process")

    def _field(self, part: multipart_form.Part) -> None:
        value = b""
        for block in part.blocks:
            value = (value + block)[:_FIELD_BYTES]
        if part.name:
            self.fields[part.name.lower()] = value.decode("utf-8", "replace").rstrip("\r\n")

    def _number(self, name: str) -> int:
        try:
            return int(self.fields.get(name) or 0)
        except ValueError:
            raise BadRequest(f"{name} not an integer") from None

    def _allow(self) -> None:
        call = self._call
        if self._number("expires") <= call.ctx.clock.now_us() // 1_000_000:
            raise Refusal(401, "FormPost: Form Expired")
        digest = signature_rules.taken_apart(self.fields.get("signature", ""))
        if digest is None or digest[0] not in call.section.tempurl_digests.split():
            raise Refusal(401, "FormPost: Invalid Signature")
        sent = unquote(call.ctx.raw_path.partition("?")[0])
        rest = "\n".join(
            [
                self.fields.get("redirect") or "",
                self.fields.get("max_file_size") or "0",
                self.fields.get("max_file_count") or "0",
                self.fields.get("expires") or "0",
            ]
        )
        texts = [f"{path}\n{rest}" for path in (sent, sent.removeprefix(call.ctx.service_path))]
        if not call.container_name or not signature_rules.opened(call, *digest, texts):
            raise Refusal(401, "FormPost: Invalid Signature")

    def _store(self, part: multipart_form.Part) -> None:
        call = self._call
        most = self._number("max_file_size")
        name = call.object_name + part.filename
        limit_rules.hold_object_name(name)
        kind = self.fields.get("content-type") or part.content_type
        kind = kind or mimetypes.guess_type(name)[0] or "application/octet-stream"
        encoding = self.fields.get("content-encoding") or part.content_encoding
        sys = {"content-encoding": encoding} if encoding else {}
        at = self._delete_at()
        if at is not None:
            sys["x-delete-at"] = str(at)
        facts = Facts(etag="", content_type=kind, sys=sys, expires_at=expiry_rules.micros(at))
        write_rules.store(call, call.container, name, _capped(part.blocks, most), facts)

    def _delete_at(self) -> int | None:
        given = {}
        for name, need in (
            ("x_delete_at", "Unix timestamp required."),
            ("x_delete_after", "Number of seconds required."),
        ):
            if name in self.fields:
                try:
                    given[name.replace("_", "-")] = str(int(self.fields[name]))
                except ValueError:
                    raise BadRequest(f"{name} not an integer: {need}") from None
        return expiry_rules.delete_at(given, self._call.ctx.clock.now_us())


def _capped(blocks: Iterator[bytes], most: int) -> Iterator[bytes]:
    size = 0
    for block in blocks:
        size += len(block)
        if size > most:
            raise BadRequest("max_file_size exceeded")
        yield block
