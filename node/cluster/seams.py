"""What the log's parts are to each other: the wire, the node behind the transport, and who waits for answers."""

from collections.abc import Callable
from typing import Protocol

from node.cluster.journal import SqliteJournal
from node.cluster.links import Receiver
from node.cluster.messages import Message


class Wire(Protocol):
    """Carries messages to nodes by id: `Links`, or a test's hand."""

    def start(self, receiver: Receiver) -> None:
        """Take links from now on."""

    def want(self, node_ids: set[str]) -> None:
        """Keep a link to each of these nodes."""

    def is_up(self, node_id: str) -> bool:
        """Say whether there is a link to a node."""

    def tick(self, now_s: float, *, eager: bool) -> None:
        """Do what is due."""

    def refresh(self, now_s: float) -> None:
        """Forgive all silence."""

    def drop(self, node_id: str) -> None:
        """End the link to a node, if there is one."""

    def send(self, node_id: str, message: Message) -> bool:
        """Send, or keep for sending; False when there is no link."""

    def close(self) -> None:
        """End all links."""


class NoWire:
    """Reaches nobody: the wire of a node without a cluster port."""

    def start(self, receiver: Receiver) -> None:
        """Do nothing."""

    def want(self, node_ids: set[str]) -> None:
        """Do nothing."""

    def is_up(self, node_id: str) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def tick(self, now_s: float, *, eager: bool) -> None:
        """Do nothing."""

    def refresh(self, now_s: float) -> None:
        """Do nothing."""

    def drop(self, node_id: str) -> None:
        """Do nothing."""

    def send(self, node_id: str, message: Message) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def close(self) -> None:
        """Do nothing."""


class Member(Protocol):
    """What the transport needs of the node that it serves."""

    node_id: str
    journal: SqliteJournal

    @property
    def is_alone(self) -> bool:
        """Say whether this node is the only voter."""

    @property
    def term(self) -> int:
        """Return the current term."""

    @property
    def leads(self) -> bool:
        """Say whether this node is the leader."""

    @property
    def leader_id(self) -> str | None:
        """Return the leader, if known."""

    @property
    def is_installing(self) -> bool:
        """Say whether the state is being replaced."""

    @property
    def is_handing_over(self) -> bool:
        """Say whether this node takes no proposals as it is about to lead no more."""

    @property
    def raftCommitIndex(self) -> int:  # noqa: N802 - the library's
        """Return the commit index."""

    @property
    def is_voter(self) -> bool:
        """Say whether this node has a vote."""

    def match_index(self, node_id: str) -> int:
        """Return up to where a follower holds this node's log."""

    def follows(self, node_id: str) -> bool:
        """Say whether the library keeps an index for a node."""

    def adopt_term(self, term: int) -> None:
        """Follow in a later term; a sole voter leads in the one after it."""

    def heard_leader(self) -> None:
        """Note a sign of life of the leader."""

    def leader_link_lost(self, *, broken: bool) -> None:
        """Note that what was sent to the leader may be lost."""

    def greet(self, node_id: str) -> None:
        """Ask a node that can be reached again how far it is."""

    def voting(self, handle: Callable[[], None]) -> None:
        """Handle a request for a vote, also when the log does not tell yet that this node has one."""

    def acknowledged(self, node_id: str, handle: Callable[[], None], *, reset: bool) -> None:
        """Handle an acknowledgement without going back behind what is under way."""

    def other(self, node_id: str, message: Message) -> None:
        """Handle a message that the library does not know."""


class Watcher(Protocol):
    """Whom a RaftNode tells what became of the log. Must not raise."""

    def delivered(self, number: int, answers: list[bytes]) -> None:
        """Take the answers of an entry that this process proposed under this number."""

    def failed(self, number: int) -> None:
        """Learn that an entry of this process is perhaps not in the log."""

    def applied(self, index: int) -> None:
        """Learn that an entry changed the state."""
