"""Learners that are fed by learners, so that a leader of a large cluster sends its log to a handful only.

    leader --append_entries--> direct learners --fed--> the others
      `--redirect--> the others: whom to ask            `--feed_status--> leader, once a second

A leader shows the library as many learners as the settings say, and tells the others whom of these to ask. One that is
fed asks for entries from an index on (`feed_me`, its acknowledgement too) and is sent committed ones only: so nothing
that it holds is ever taken back, and nothing that it says is counted. Its leader stays the leader: proposals, reads and
leases go there. Only who hears the leader itself feeds, so there are never more than two steps and no circles. One that
is too far behind for any log says so, and the leader serves it itself.
"""

import time
from typing import Protocol

from node.cluster.journal import SqliteJournal
from node.cluster.messages import Message
from node.cluster.witness_vote import is_witness

_FEEDERS_TOLD = 4
_BATCH_BYTES = 256 * 1024
_PATIENCE_PERIODS = 5
_NEAR_ENTRIES = 64
FEEDING = frozenset({"redirect", "feed_me", "fed", "feed_status"})


class Member(Protocol):
    """What is needed of the node."""

    node_id: str
    journal: SqliteJournal

    @property
    def term(self) -> int:
        """Return the current term."""

    @property
    def leads(self) -> bool:
        """Say whether this node leads."""

    @property
    def is_voter(self) -> bool:
        """Say whether this node has a vote."""

    @property
    def leader_id(self) -> str | None:
        """Return the leader, if known."""

    @property
    def is_installing(self) -> bool:
        """Say whether the state is being replaced."""

    @property
    def raftCommitIndex(self) -> int:  # noqa: N802 - the library's
        """Return the commit index."""

    def match_index(self, node_id: str) -> int:
        """Return up to where a follower holds this node's log."""


class Transport(Protocol):
    """What is needed of the transport."""

    @property
    def member(self) -> Member:
        """Return the node."""

    @property
    def shown(self) -> set[str]:
        """Return the learners that the library sends the log to."""

    @property
    def learners(self) -> set[str]:
        """Return all learners that are linked."""

    def show_learner(self, node_id: str) -> None:
        """Have the library send the log to a learner."""

    def hide_learner(self, node_id: str) -> None:
        """Have the library forget a learner."""

    def append(self, leader_id: str, message: Message) -> int:
        """Have the library take an append; return the index that it wants next."""

    def tell(self, node_id: str, message: Message) -> bool:
        """Send a message."""

    def want_also(self, node_ids: set[str]) -> None:
        """Keep links to these nodes too."""


class _Fed:
    """One that this node feeds."""

    __slots__ = ("asked_s", "awaits", "next_index", "sent_s")

    def __init__(self, next_index: int, now_s: float) -> None:
        self.next_index = next_index
        self.asked_s = now_s
        self.sent_s = float("-inf")
        self.awaits = False
        """Whether entries were sent of which it has not said that it has them."""


class Feeding:
    """All three parts of one node. Used from the loop thread only."""

    def __init__(self, transport: Transport, most_direct: int, period_s: float) -> None:
        self._transport = transport
        self._most = most_direct
        self._period_s = period_s
        self._heard_leader_s = float("-inf")
        # as a leader
        self._told: dict[str, tuple[int, float]] = {}
        self._matched: dict[str, int] = {}
        self._behind: set[str] = set()
        self._led_s = float("-inf")
        # as one that feeds
        self._fed: dict[str, _Fed] = {}
        # as one that is fed
        self._feeders: list[str] = []
        self._feeder = ""
        self._fed_s = float("-inf")
        self._asked_s = float("-inf")
        self._chosen_s = float("-inf")
        self._status_s = float("-inf")
        self._is_behind = False

    def has_room(self, node_id: str) -> bool:
        """Say whether the library may send the log to one more learner. Witnesses get none of it, and do not count."""
        return is_witness(node_id) or len(self._direct) < self._most

    @property
    def _direct(self) -> list[str]:
        return sorted(one for one in self._transport.shown if not is_witness(one))

    def match_of(self, node_id: str) -> int:
        """Return how far one that is fed by others said it is."""
        return self._matched.get(node_id, 0)

    def gone(self, node_id: str) -> None:
        """Forget a node whose link broke."""
        for notes in (self._told, self._matched, self._fed):
            notes.pop(node_id, None)
        self._behind.discard(node_id)
        if node_id == self._feeder:
            self._fed_s = self._chosen_s = float("-inf")

    def heard_leader(self) -> None:
        """Note that the leader itself has sent a part of the log."""
        self._heard_leader_s = time.monotonic()
        if self._feeders:
            self._feeders, self._feeder, self._is_behind = [], "", False
            self._transport.want_also(set())

    def tick(self, now_s: float) -> None:
        """Do what is due in each part."""
        member = self._transport.member
        if member.leads:
            self._feeders, self._feeder = [], ""
            self._lead(now_s)
        elif self._feeders and not member.is_voter:
            self._ask(now_s)
        self._feed(now_s)

    def received(self, node_id: str, message: Message) -> None:
        """Take one of these messages."""
        member, now_s = self._transport.member, time.monotonic()
        if message["term"] < member.term and message["type"] in {"redirect", "fed"}:
            return
        match message["type"]:
            case "redirect" if not (member.leads or member.is_voter):
                self._feeders = [one for one in message["feeders"] if one != member.node_id]
            case "feed_me":
                self._wanted_from(node_id, message["next_index"], now_s)
            case "fed" if node_id == self._feeder and not member.is_voter:
                self._take(node_id, message, now_s)
            case "feed_status" if member.leads:
                self._matched[node_id] = message["match_index"]
                if message["behind"]:
                    self._behind.add(node_id)

    # -- as a leader

    def _lead(self, now_s: float) -> None:
        if now_s - self._led_s < self._period_s:
            return
        self._led_s = now_s
        transport = self._transport
        hidden = sorted(one for one in transport.learners - transport.shown if not is_witness(one))
        for node_id in hidden:
            if node_id in self._behind or self.has_room(node_id):
                self._told.pop(node_id, None)
                transport.show_learner(node_id)
        for node_id in sorted(self._behind & transport.shown):
            if self._is_near(node_id):
                self._behind.discard(node_id)
                if len(self._direct) > self._most:
                    transport.hide_learner(node_id)
        direct = [one for one in self._direct if one not in self._behind]
        for number, node_id in enumerate(hidden):
            if node_id not in transport.shown:
                self._redirect(number, node_id, direct, now_s)

    def _is_near(self, node_id: str) -> bool:
        """Say whether another learner's log will help a node."""
        journal, held = self._transport.member.journal, self._transport.member.match_index(node_id)
        return held > journal.first_index and held + _NEAR_ENTRIES >= journal.last_index

    def _redirect(self, number: int, node_id: str, direct: list[str], now_s: float) -> None:
        term, told_s = self._told.get(node_id, (-1, float("-inf")))
        is_due = now_s - told_s >= 4 * self._period_s
        if not direct or (term == self._transport.member.term and not is_due):
            return
        start = number % len(direct)
        feeders = [*direct[start:], *direct[:start]][:_FEEDERS_TOLD]
        if self._transport.tell(node_id, {"type": "redirect", "feeders": feeders}):
            self._told[node_id] = (self._transport.member.term, now_s)

    # -- as one that feeds

    @property
    def _may_feed(self) -> bool:
        age_s = time.monotonic() - self._heard_leader_s
        return self._transport.member.leader_id is not None and age_s < self._patience_s

    @property
    def _patience_s(self) -> float:
        return max(1.0, _PATIENCE_PERIODS * self._period_s)

    def _wanted_from(self, node_id: str, next_index: int, now_s: float) -> None:
        known = self._fed.get(node_id)
        if known is None:
            self._fed[node_id] = _Fed(next_index, now_s)
            return
        known.next_index, known.asked_s, known.awaits = next_index, now_s, False

    def _feed(self, now_s: float) -> None:
        if not self._fed or not self._may_feed:
            return
        for node_id, one in list(self._fed.items()):
            if now_s - one.asked_s > 3 * self._patience_s:
                del self._fed[node_id]
            elif one.awaits and now_s - one.sent_s < self._patience_s:
                continue
            else:
                self._send(node_id, one, now_s)

    def _send(self, node_id: str, one: _Fed, now_s: float) -> None:
        member = self._transport.member
        journal, committed = member.journal, member.raftCommitIndex
        previous = min(one.next_index, committed + 1) - 1
        term = journal.term_at(previous)
        entries = []
        if term is not None:
            entries = _entries(journal, previous + 1, committed)
        if not entries and now_s - one.sent_s < self._period_s:
            return
        one.sent_s, one.awaits = now_s, bool(entries)
        self._transport.tell(
            node_id,
            {
                "type": "fed",
                "leader": member.leader_id,
                "commit_index": committed,
                "prevLogIdx": previous,
                "prevLogTerm": term or 0,
                "entries": entries,
                "behind": term is None,
            },
        )

    # -- as one that is fed

    def _ask(self, now_s: float) -> None:
        """Ask the one that feeds; another one when it is silent."""
        transport, member = self._transport, self._transport.member
        if min(now_s - self._fed_s, now_s - self._chosen_s) > self._patience_s:
            self._chosen_s = now_s
            at = self._feeders.index(self._feeder) + 1 if self._feeder in self._feeders else 0
            self._feeder = self._feeders[at % len(self._feeders)]
            transport.want_also({self._feeder})
        is_silent = now_s - self._fed_s > 2 * self._period_s
        if is_silent and now_s - self._asked_s >= self._period_s:
            self._asked_s = now_s
            transport.tell(self._feeder, self._want(member.journal.last_index + 1))
        if now_s - self._status_s >= 4 * self._period_s and member.leader_id is not None:
            self._status_s = now_s
            status = {"match_index": member.journal.last_index, "behind": self._is_behind}
            transport.tell(member.leader_id, {"type": "feed_status", **status})

    @staticmethod
    def _want(next_index: int) -> Message:
        return {"type": "feed_me", "next_index": next_index}

    def _take(self, node_id: str, message: Message, now_s: float) -> None:
        member, leader_id = self._transport.member, message["leader"]
        self._fed_s = now_s
        self._is_behind = message["behind"]
        if leader_id == member.node_id or member.is_installing:
            return
        append = {"type": "append_entries", "term": message["term"], "commit_index": 0}
        if not message["behind"]:
            append |= {
                name: message[name]
                for name in ("commit_index", "prevLogIdx", "prevLogTerm", "entries")
            }
        next_index = self._transport.append(leader_id, append)
        if not message["behind"]:
            self._transport.tell(node_id, self._want(next_index))


def _entries(journal: SqliteJournal, first: int, last: int) -> list[tuple[bytes, int, int]]:
    """Return entries from an index on, as many as one message may hold."""
    found: list[tuple[bytes, int, int]] = []
    size = 0
    for index in range(first, last + 1):
        entry = journal.entry(index - journal.first_index)
        size += len(entry[0])
        if found and size > _BATCH_BYTES:
            break
        found.append(entry)
    return found
