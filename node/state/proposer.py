"""The typed way to the log: encodes transactions, decodes outcomes."""

from collections.abc import Callable

from node.state.txn import Outcome, Txn, decode_outcome, encode_txn


class LogProposer:
    """Proposes through a function that takes and returns bytes (a client of the core's socket)."""

    def __init__(self, propose: Callable[[bytes, float], bytes]) -> None:
        self._propose = propose

    def propose(self, txn: Txn, timeout_s: float = 10.0) -> Outcome:
        """Return the outcome once this node has applied the transaction.

        Raises:
            Unavailable: 503, no answer in time; the transaction may have been applied.
            DiskFull: 507.
            TooLarge: 413.
        """
        return decode_outcome(self._propose(encode_txn(txn), timeout_s))
