"""What may reach the library of what other nodes say: pure rules, each for one of its faults.

Hard part: the library believes too much. A message without a previous entry makes it commit its own tail (A); an old
append makes it drop entries that it has acknowledged (B); an acknowledgement counts for whatever term it meets (I).
The rules are Raft's own, applied to the messages instead of inside the library.
"""

from typing import Protocol

import msgspec

from node.cluster.messages import Message

_REGULAR = 0


class LogView(Protocol):
    """What the rules need of the log."""

    @property
    def first_index(self) -> int:
        """Return the index of the first entry that is held."""

    @property
    def last_index(self) -> int:
        """Return the index of the last entry."""

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry, None when it is not held."""


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of an append: a message for the library, an answer of our own, or both."""

    message: Message | None = None
    reply: Message | None = None
    conflict: int | None = None
    """Index of the first entry of ours that the message removes."""


def answer(next_index: int, *, success: bool = False, reset: bool = False) -> Message:
    """Return an acknowledgement; without success and reset it only says that this node lives."""
    return {
        "type": "next_node_idx",
        "next_node_idx": next_index,
        "success": success,
        "reset": reset,
    }


def incoming_append(message: Message, log: LogView, committed: int) -> Verdict:
    """Judge an append of the current or a later term (faults A and B)."""
    heartbeat = {"type": "append_entries", "term": message["term"], "commit_index": 0}
    if "prevLogIdx" not in message or "prevLogTerm" not in message:
        return Verdict(heartbeat, answer(1))
    previous, previous_term = message["prevLogIdx"], message["prevLogTerm"]
    entries = message.get("entries", [])
    if not _contiguous(previous, entries):
        return Verdict(heartbeat, answer(1))
    skip = max(0, min(log.first_index - previous, len(entries)))
    if skip:  # what lies before our log's start was applied, so it is the same
        previous, previous_term = entries[skip - 1][1:]
        entries = entries[skip:]
    own = log.term_at(previous)
    if own is None and previous < log.first_index:
        return Verdict(heartbeat, answer(previous + 1, success=True))
    if own != previous_term:
        return Verdict(heartbeat, answer(_retry_at(previous, log, committed), reset=True))
    known = 0
    while known < len(entries) and log.term_at(entries[known][1]) == entries[known][2]:
        known += 1
    if known:
        _, previous, previous_term = entries[known - 1]
        entries = entries[known:]
    covered = previous + len(entries)
    commit = min(message["commit_index"], covered)
    if not entries and log.last_index > previous:
        return Verdict({**heartbeat, "commit_index": commit}, answer(previous + 1, success=True))
    passed = {
        "type": "append_entries",
        "term": message["term"],
        "commit_index": commit,
        "prevLogIdx": previous,
        "prevLogTerm": previous_term,
        "entries": entries,
    }
    conflict = previous + 1 if log.last_index > previous else None
    return Verdict(passed, conflict=conflict)


def _contiguous(previous: int, entries: list[tuple[bytes, int, int]]) -> bool:
    return all(entry[1] == previous + 1 + offset for offset, entry in enumerate(entries))


def _retry_at(previous: int, log: LogView, committed: int) -> int:
    """Return where the leader should try next: after our end, or before the term that conflicts."""
    if previous > log.last_index:
        return log.last_index + 1
    term, at = log.term_at(previous), previous
    while at > max(committed + 1, log.first_index + 1) and log.term_at(at - 1) == term:
        at -= 1
    return at


def counts_as_ack(message: Message, current_term: int, last_index: int) -> bool:
    """Say whether an acknowledgement belongs to this leadership and to this log (fault I)."""
    return bool(message["term"] == current_term and 0 < message["next_node_idx"] <= last_index + 1)


def is_proposal(message: Message, limit_bytes: int) -> bool:
    """Say whether a forwarded command is a transaction: voters and versions are no business of the port."""
    command = message["command"]
    return 0 < len(command) <= limit_bytes and command[0] == _REGULAR


def is_up_to_date(message: Message, last_index: int, last_term: int) -> bool:
    """Say whether a candidate's log holds all that this one may have acknowledged."""
    theirs = (message["last_log_term"], message["last_log_index"])
    return bool(theirs >= (last_term, last_index))
