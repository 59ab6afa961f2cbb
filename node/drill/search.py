"""Look for an order of operations that a plain model of a thing would give: for things that do not tell their order.

The search is that of Wing and Gong with Lowe's memory of what was tried: exponential in how many operations overlap
and in how many are unknown, so callers keep a thing's history short.
"""

from collections.abc import Callable, Sequence
from typing import Any

from node.drill.history import Operation
from node.errors import NodeError

Step = Callable[[Any, Operation], Any]
"""Returns the state after an operation, or None when it cannot have ended so in that state."""

MOST_TRIED = 500_000


class TooLong(NodeError):
    """The history of one thing is too long to be looked through."""


def is_linearizable(
    operations: Sequence[Operation], start: Any, step: Step, most_tried: int = MOST_TRIED
) -> bool:
    """Return whether some order explains every answer.

    Raises:
        TooLong: it could not be found out.
    """
    counting = (one for one in operations if one.outcome != "unknown" or one.action != "read")
    ordered = sorted(counting, key=lambda one: one.invoked_s)
    must = 0
    for number, one in enumerate(ordered):
        if one.outcome != "unknown":
            must |= 1 << number
    tried: set[tuple[int, Any]] = set()
    waiting = [(0, start)]
    while waiting:
        done, state = waiting.pop()
        if done & must == must:
            return True
        if (done, state) in tried:
            continue
        tried.add((done, state))
        if len(tried) > most_tried:
            raise TooLong(f"{len(ordered)} operations on {ordered[0].thing} overlap too much")
        waiting += _next(ordered, done, state, step)
    return False


def _next(ordered: Sequence[Operation], done: int, state: Any, step: Step) -> list[tuple[int, Any]]:
    """Return where one more operation leads: one that began before any of the others left had ended."""
    found = []
    first_end_s = min(
        (one.ended_s for number, one in enumerate(ordered) if not done >> number & 1),
        default=float("inf"),
    )
    for number, one in enumerate(ordered):
        if one.invoked_s > first_end_s:
            break
        if not done >> number & 1:
            after = step(state, one)
            if after is not None:
                found.append((done | 1 << number, after))
    return found


def holder_step(state: bool, one: Operation) -> bool | None:
    """Model a name: `create` takes it (refused: it is taken), `delete` frees it (refused: it is free).

    A `read` sees version 1 when it is taken, 0 when it is free.
    """
    if one.action == "read":
        return state if state == bool(one.version) else None
    wants = one.action == "delete"
    if one.outcome == "refused":
        return state if state != wants else None
    if one.outcome == "unknown":
        return not wants
    return (not wants) if state == wants else None


def count_step(state: int, one: Operation) -> int | None:
    """Model how many there are of a name: `create` adds one, `delete` takes one, `read` sees the number."""
    if one.action == "read":
        return state if state == one.version else None
    if one.outcome == "refused":
        return state if one.action == "create" or state == 0 else None
    if one.action == "create":
        return state + 1
    return state - 1 if state > 0 else (0 if one.outcome == "unknown" else None)
