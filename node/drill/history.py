"""What clients asked and were told, with the moments: all that the checker knows.

Moments are seconds of one monotonic clock, that of the process in which all clients run.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from node.types import Frozen

Outcome = Literal["ok", "refused", "unknown"]
"""Unknown: no answer, or one that leaves open whether it happened or still will."""

FOREVER_S = float("inf")


class Operation(Frozen):
    """One operation of one client. Which fields count depends on the kind of thing."""

    thing: str
    """Kind and name of what it works on, for example `list/3`."""
    action: str
    node: str
    client: int
    invoked_s: float
    returned_s: float = FOREVER_S
    outcome: Outcome = "unknown"
    value: str = ""
    """What it wrote: unique in the whole history."""
    version: int = 0
    """Of a register: the version it expected, or saw. Of a count: what it saw."""
    seen: tuple[str, ...] = ()
    """What a read saw."""
    is_local: bool = False
    """Whether the read may be behind."""

    @property
    def ended_s(self) -> float:
        """Return by when it had happened, if it did: an unknown one may happen at any later time."""
        return FOREVER_S if self.outcome == "unknown" else self.returned_s


class Pending:
    """An operation under way: fill in what it came to."""

    def __init__(self) -> None:
        self.fields: dict[str, object] = {}
        self.is_sent = True

    def came_to(self, outcome: Outcome, **fields: object) -> None:
        """Note the answer."""
        self.fields.update(fields, outcome=outcome)

    def never_sent(self) -> None:
        """Forget the operation: nobody can have heard of it."""
        self.is_sent = False


class History:
    """Collects operations from all clients. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._operations: list[Operation] = []
        self._lock = threading.Lock()

    @contextmanager
    def operation(
        self, thing: str, action: str, node: str, client: int, value: str = "", **fields: object
    ) -> Iterator[Pending]:
        """Note one operation; what is not told to the Pending stays unknown."""
        pending = Pending()
        pending.fields.update(fields, value=value)
        invoked_s = self._clock()
        try:
            yield pending
        finally:
            done = Operation(
                thing=thing,
                action=action,
                node=node,
                client=client,
                invoked_s=invoked_s,
                returned_s=self._clock(),
                **pending.fields,  # type: ignore[arg-type]
            )
            if pending.is_sent:
                with self._lock:
                    self._operations.append(done)

    def operations(self) -> list[Operation]:
        """Return what there is so far, in the order of their ends."""
        with self._lock:
            return list(self._operations)

    def write(self, path: Path) -> None:
        """Write one JSON object a line."""
        lines = [msgspec.json.encode(one) for one in self.operations()]
        path.write_bytes(b"\n".join(lines) + b"\n")


def read_history(path: Path) -> list[Operation]:
    """Return what `History.write` wrote."""
    return [msgspec.json.decode(line, type=Operation) for line in path.read_bytes().splitlines()]
