"""Which of several formats a client likes best.

Source: RFC 9110, 12.5.1.
"""

from collections.abc import Sequence


def best(header: str, offered: Sequence[str]) -> str | None:
    """Return the format that an Accept header likes best; the first one where all are welcome; None if none is."""
    if not header.strip():
        return offered[0]
    liked: list[tuple[float, int, int]] = []
    wanted = [_parsed(word) for word in header.split(",") if word.strip()]
    if any(one is None for one in wanted):
        return offered[0]
    for index, kind in enumerate(offered):
        matches = [
            (_closeness(one[0], kind), one[1], -place)
            for place, one in enumerate(wanted)
            if one is not None and _closeness(one[0], kind)
        ]
        if matches:
            _close, quality, place = max(matches)
            if quality > 0:
                liked.append((quality, place, -index))
    return offered[-max(liked)[2]] if liked else None


def _parsed(word: str) -> tuple[str, float] | None:
    kind, *parameters = (part.strip() for part in word.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _equals, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
    return (kind.lower(), quality) if "/" in kind or kind == "*" else None


def _closeness(pattern: str, kind: str) -> int:
    if pattern == kind:
        return 3
    if pattern.endswith("/*") and pattern != "*/*" and kind.startswith(pattern[:-1]):
        return 2
    return 1 if pattern in ("*/*", "*") else 0
