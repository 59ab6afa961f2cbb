"""XML out: elements in a fixed order, escaped, nothing else.

A tree is a list of (name, value) pairs; a value is text, a number, a truth, another list, or None to leave it out. A
name may carry attributes behind a space.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

_SPECIAL = re.compile("[&<>\"'\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NAMED = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&apos;",
    "\t": "\t",
    "\n": "\n",
}

Tree = Sequence[tuple[str, Any]]


def escape(value: object) -> str:
    """Return text for an element. What XML 1.0 cannot hold becomes a character reference, as S3 itself sends."""
    return _SPECIAL.sub(_reference, str(value))


def _reference(found: re.Match[str]) -> str:
    char = found.group()
    return _NAMED.get(char) or ("?" if char >= "\ud800" else f"&#x{ord(char):X};")


def document(name: str, tree: Tree, *, namespace: str = NAMESPACE) -> bytes:
    """Return a whole document."""
    parts = [DECLARATION, f'<{name} xmlns="{namespace}">']
    _write(parts, tree)
    parts.append(f"</{name}>")
    return "".join(parts).encode()


def _write(parts: list[str], tree: Iterable[tuple[str, Any]]) -> None:
    for name, value in tree:
        if value is None:
            continue
        end = name.partition(" ")[0]
        if isinstance(value, list | tuple):
            parts.append(f"<{name}>")
            _write(parts, value)
            parts.append(f"</{end}>")
        elif isinstance(value, bool):
            parts.append(f"<{name}>{'true' if value else 'false'}</{end}>")
        else:
            parts.append(f"<{name}>{escape(value)}</{end}>")


def xml_time(at_us: int) -> str:
    """Return a time as S3 writes it into documents."""
    moment = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_us // 1000 % 1000:03}Z"


def http_time(at_us: int) -> str:
    """Return a time as HTTP headers have it."""
    return formatdate(at_us // 1_000_000, usegmt=True)
