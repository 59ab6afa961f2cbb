"""Answers of operations on many objects, and the deletion of many.

The answer begins before the work is done, and its status is in its body, so that a long one keeps its connection.

Source: https://docs.openstack.org/swift/latest/middleware.html#bulk-delete
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

from node.plugins.object.swift import object_change_rules
from node.plugins.object.swift.accept_rules import best
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal, code_of, status_line
from node.sdk import NodeError, Reply

FORMATS = ("text/plain", "application/json", "application/xml", "text/xml")
_PAUSE_S = 10
_TRANSIENT = 500


def problems(call: Call, code: int, errors: Sequence[tuple[str, str]]) -> Reply:
    """Return a refusal that names what is wrong with each thing."""
    kind = best(call.headers.get("accept", ""), FORMATS) or "text/plain"
    body = render(kind, {}, errors, "upload")
    return Reply(status=code, body=body, content_type=kind)


def render(
    kind: str, facts: Mapping[str, object], errors: Sequence[tuple[str, str]], root: str
) -> bytes:
    """Return facts and errors in a format that the client takes."""
    if kind == "application/json":
        return json.dumps({**facts, "Errors": [list(error) for error in errors]}).encode()
    if kind.endswith("/xml"):
        parts = [f"<{root}>\n"]
        for name, value in facts.items():
            tag = name.replace(" ", "_").lower()
            parts.append(f"<{tag}>{escape(str(value))}</{tag}>\n")
        parts.append("<errors>\n")
        parts += [
            f"<object><name>{escape(name)}</name><status>{escape(text)}</status></object>\n"
            for name, text in errors
        ]
        parts.append(f"</errors>\n</{root}>\n")
        return "".join(parts).encode()
    lines = [f"{name}: {value}\n" for name, value in sorted(facts.items())]
    lines.append("Errors:\n")
    lines += [f"{name}, {text}\n" for name, text in errors]
    return "".join(lines).encode()


def format_of(call: Call) -> str:
    """Return the format of the answer.

    Raises:
        Refusal: 406.
    """
    kind = best(call.headers.get("accept", ""), FORMATS)
    if kind is None:
        raise Refusal(406)
    return kind


def deletion(call: Call, names: Iterable[str]) -> Reply:
    """Delete what the names say, `/container/object` or `/container`, and tell how that went."""
    kind = format_of(call)
    return Reply(status=200, body=_deletion(call, names, kind), content_type=kind)


class _Tally:
    def __init__(self) -> None:
        self.deleted = 0
        self.missing = 0
        self.errors: list[tuple[str, str]] = []
        self.code = 200
        self.text = ""

    def facts(self) -> dict[str, object]:
        if self.code == 200 and self.errors:
            self.code = 400
        elif self.code == 200 and not (self.deleted or self.missing):
            self.code, self.text = 400, "Invalid bulk delete."
        return {
            "Response Status": status_line(self.code),
            "Response Body": self.text,
            "Number Deleted": self.deleted,
            "Number Not Found": self.missing,
        }


def _deletion(call: Call, names: Iterable[str], kind: str) -> Iterator[bytes]:
    tally = _Tally()
    last = time.monotonic()
    began = False
    try:
        for name in names:
            _delete_one(call, name, tally)
            if len(tally.errors) >= call.section.max_bulk_failures:
                raise Refusal(400, "Max delete failures exceeded")
            if time.monotonic() - last > _PAUSE_S:
                yield b" " if began or kind.endswith("json") or kind == "text/plain" else b"\n"
                last, began = time.monotonic(), True
    except NodeError as error:
        tally.code = code_of(error)
        tally.text = error.message
    if began:
        yield b"\r\n\r\n"
    yield render(kind, tally.facts(), tally.errors, "delete")


def _delete_one(call: Call, path: str, tally: _Tally) -> None:
    try:
        object_change_rules.delete_named(call, path)
        tally.deleted += 1
    except NodeError as error:
        code = code_of(error)
        if code == 404:
            tally.missing += 1
        elif code == 401:
            raise
        else:
            shown = object_change_rules.shown(path)
            tally.errors.append((shown, status_line(code)))
            if code >= _TRANSIENT:
                tally.code, tally.text = 502, "Bad Gateway"
