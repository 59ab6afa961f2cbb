"""The cluster's tables without a log, for tests."""

from pathlib import Path

from node.cluster.tables import ROW_TYPES
from node.control.placement import NodeRow
from node.ids import RandomIds
from node.state.machine import Machine
from node.state.reader import Reader, Readers
from node.state.row import Row
from node.state.txn import AnyOp, Applied, Define, Outcome, Txn
from node.testing.cloud import DirectProposer


class Rows:
    """A store."""

    def __init__(self, path: Path) -> None:
        self.proposer = DirectProposer(Machine(path))
        self._readers = Readers(path)
        row_types: tuple[type[Row], ...] = (NodeRow, *ROW_TYPES)
        self.commit(*(Define(row_type.__table__) for row_type in row_types))

    @property
    def db(self) -> Reader:
        """Return the calling thread's reader."""
        return self._readers.reader()

    def propose(self, *ops: AnyOp) -> Outcome:
        """Return the outcome of one transaction."""
        return self.proposer.propose(Txn(request_id=RandomIds().uuid(), ops=ops))

    def commit(self, *ops: AnyOp) -> None:
        """Store, or fail the test."""
        outcome = self.propose(*ops)
        assert isinstance(outcome, Applied), outcome
