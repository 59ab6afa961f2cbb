"""A state machine for tests of the log: a list in memory, with switches for its failures."""

from collections.abc import Callable
from pathlib import Path

import msgspec


class LedgerTxn(msgspec.Struct, frozen=True, kw_only=True):
    """What a ledger applies: it only keeps the id."""

    request_id: str
    frees: bool = False
    note: str = ""


def ledger_txn(request_id: str, *, frees: bool = False, note: str = "") -> bytes:
    """Return an encoded transaction for a ledger."""
    return msgspec.msgpack.encode(LedgerTxn(request_id=request_id, frees=frees, note=note))


class LedgerMachine:
    """Keeps the request ids in the order in which they were applied; the answer to each is its position.

    `fail_with` is raised by `apply` before anything changes. `on_apply` and `on_checkpoint` are called first.
    """

    def __init__(self) -> None:
        self.applied_index = 0
        self.order: list[str] = []
        self.entries: list[tuple[int, list[str]]] = []
        self.checkpoints = 0
        self.fail_with: Exception | None = None
        self.on_apply: Callable[[int], None] | None = None
        self.on_checkpoint: Callable[[], None] | None = None

    def apply(self, index: int, entry: bytes) -> list[bytes]:
        """Apply an entry; one applied before, or an id known already, changes nothing."""
        if self.on_apply is not None:
            self.on_apply(index)
        if self.fail_with is not None:
            raise self.fail_with
        ids = [
            msgspec.msgpack.decode(txn, type=LedgerTxn).request_id
            for txn in msgspec.msgpack.decode(entry, type=list[bytes])
        ]
        if index > self.applied_index:
            self.entries.append((index, ids))
            self.order += [one for one in dict.fromkeys(ids) if one not in self.order]
            self.applied_index = index
        return [str(self.order.index(one)).encode() for one in ids]

    def checkpoint(self) -> None:
        """Count the calls."""
        if self.on_checkpoint is not None:
            self.on_checkpoint()
        self.checkpoints += 1

    def snapshot_to(self, path: Path) -> int:
        """Write the order and the index."""
        path.write_bytes(msgspec.msgpack.encode((self.applied_index, self.order)))
        return self.applied_index

    def restore_from(self, path: Path) -> None:
        """Read what `snapshot_to` wrote."""
        found = msgspec.msgpack.decode(path.read_bytes(), type=tuple[int, list[str]])
        self.applied_index, self.order = found
