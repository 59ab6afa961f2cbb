"""The way of commands to the rows: for a person at the node's own shell, who is root there."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from node.clock import Clock, SystemClock
from node.cluster.client import SOCKET_FILE, ProposalClient
from node.config import Config, load, usual_config
from node.errors import Conflict, Unavailable
from node.ids import Ids, RandomIds
from node.state.proposer import LogProposer
from node.state.reader import STATE_FILE, Reader
from node.state.txn import AnyOp, Applied, Outcome, Txn
from node.types import Frozen, Micros

_ATTEMPTS = 8


class Proposer(Protocol):
    """Way to the log."""

    def propose(self, txn: Txn, timeout_s: float = 10.0) -> Outcome:
        """Return the outcome once this node has applied the transaction."""


class Operator:
    """Reads this node's rows and changes them through the running node."""

    def __init__(
        self, config: Config, proposer: Proposer | None = None, clock: Clock | None = None
    ) -> None:
        """Open the store. Without a proposer what is changed goes to the core process's socket.

        Raises:
            Unavailable: 503, there is none.
        """
        path = config.state_dir / STATE_FILE
        if not path.exists():
            raise Unavailable(f"There is no node in {config.state_dir}: give its --config")
        self.config = config
        self.db = Reader(path)
        self.clock: Clock = clock or SystemClock()
        self.ids: Ids = RandomIds()
        self._proposer: Proposer = proposer or LogProposer(
            ProposalClient(config.state_dir / SOCKET_FILE).propose
        )

    def now(self) -> Micros:
        """Return the time for `created_at` and `updated_at`."""
        return Micros(self.clock.now_us())

    def transact(self, plan: Callable[[], Sequence[AnyOp]]) -> None:
        """Plan from rows and commit; plan again when something was faster.

        Raises:
            Unavailable: 503, the node does not answer.
            Conflict: 409, still refused after several attempts.
        """
        for _attempt in range(_ATTEMPTS):
            txn = Txn(request_id=self.ids.uuid(), ops=tuple(plan()))
            if isinstance(self._proposer.propose(txn), Applied):
                return
        raise Conflict("The rows are being changed by others: try again")


def operator(config_path: Path | None, sections: Mapping[str, type[Frozen]]) -> Operator:
    """Return the operator of the node with this configuration, or of the one at the usual place.

    Raises:
        ConfigError: the file cannot be read.
        Unavailable: 503, there is no such node.
    """
    return Operator(load(usual_config(config_path), dict(sections), others_allowed=True))
