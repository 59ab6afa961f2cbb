"""What a stored document must be like, whatever version of SQLite or Python a node runs.

SQLite's reading of JSON has changed over its versions: 3.40 cuts a text at an escaped NUL, later ones take JSON5, and
the depth limit moved. Rows that they could read differently would give different indexes on different nodes, so
those rows are refused before SQLite sees them.
"""

import re

import msgspec

MAX_DEPTH = 100
"""How deep lists and objects of a document may nest."""

_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{\]}]')


def is_sound(text: str) -> bool:
    """Return whether a text is a JSON object that every node reads alike."""
    if not text.startswith("{") or is_deep(text, MAX_DEPTH) or has_nul(text):
        return False
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeError):
        return False
    return True


def has_nul(text: str) -> bool:
    """Return whether a JSON text holds an escaped NUL."""
    return "\\u0000" in text and _ESCAPED_NUL.search(text) is not None


def is_deep(text: str, limit: int) -> bool:
    """Return whether lists and objects of a JSON text nest deeper than a limit."""
    if text.count("[") + text.count("{") <= limit:
        return False
    depth = 0
    for found in _BRACKETS.finditer(text):
        mark = found.group()
        if mark in "[{":
            depth += 1
            if depth > limit:
                return True
        elif mark in "]}":
            depth -= 1
    return False
