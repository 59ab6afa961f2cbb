"""Reads that see what the same client wrote through any other node."""

from collections.abc import Callable

from node.control.placement import NodeRow
from node.state.reader import Reader

_MEMO = "freshness"
_TIMEOUT_S = 7.0
"""The log answers within 5 s, also when there is no leader."""


class Freshness:
    """Waits before a request until this node's rows hold all that was acknowledged. Nothing for a node alone."""

    def __init__(self, read_index: Callable[[float], bool]) -> None:
        self._read_index = read_index

    def ensure(self, db: Reader) -> bool:
        """Wait; False: without a leader or quorum the rows may be old."""
        return not _has_others(db) or self._read_index(_TIMEOUT_S)


def _has_others(db: Reader) -> bool:
    """Say whether the rows name several nodes; looked up again when rows of nodes have changed."""
    version = db.data_version()
    known = db.memo.get(_MEMO)
    if known is None or known[0] != version:
        generation = db.generation(NodeRow)
        if known is None or known[1] != generation:
            known = (version, generation, len(db.rows(NodeRow, limit=2)) > 1)
        db.memo[_MEMO] = known = (version, *known[1:])
    return bool(known[2])
