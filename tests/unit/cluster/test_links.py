"""Links between two nodes, over socket pairs, with the poller turned by the test."""

import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from pysyncobj.poller import POLL_EVENT_TYPE

from node.cluster.links import Links
from node.cluster.messages import MAX_MESSAGE_BYTES, Message
from node.cluster.poller import EpollPoller
from node.cluster.settings import RaftSettings
from node.testing.memory_cluster import MemoryNetwork

PATIENCE_S = 30.0


class End:
    """One node's links, and what they told."""

    def __init__(self, network: MemoryNetwork, name: str, *wanted: str) -> None:
        self.poller = EpollPoller()
        self.links = Links(RaftSettings(node_id=name), network.door(name), self.poller)
        self.got: list[tuple[str, Message]] = []
        self.events: list[tuple[str, str]] = []
        self.links.want(set(wanted))
        self.links.start(self)

    def link_up(self, node_id: str) -> None:
        self.events.append(("up", node_id))

    def link_down(self, node_id: str, *, broken: bool) -> None:
        self.events.append(("broken" if broken else "replaced", node_id))

    def received(self, node_id: str, message: Message) -> None:
        self.got.append((node_id, message))

    def drained(self) -> None:
        return

    def choked(self, node_id: str, *, choked: bool) -> None:
        self.events.append(("choked" if choked else "eased", node_id))

    def turn(self, now_s: float | None = None) -> None:
        self.links.tick(time.monotonic() if now_s is None else now_s, eager=False)
        self.poller.poll(0.005)


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
def ends(network: MemoryNetwork) -> Iterator[tuple[End, End]]:
    made = End(network, "a", "b"), End(network, "b", "a")
    until(made, lambda: made[0].links.is_up("b") and made[1].links.is_up("a"))
    yield made
    for end in made:
        end.links.close()
        end.poller.close()


def until(ends: tuple[End, ...], done: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline_s
        for end in ends:
            end.turn()


def test_messages_arrive_whole_and_in_order(ends: tuple[End, End]) -> None:
    one, other = ends
    big = [(os.urandom(700_000), 2, 1), (b"", 3, 1)]
    for number in range(50):
        one.links.send("b", {"type": "read_index", "term": 1, "request_id": number})
    one.links.send("b", {"type": "append_entries", "term": 1, "commit_index": 0, "entries": big})
    until(ends, lambda: len(other.got) == 51)
    assert [message["request_id"] for _, message in other.got[:50]] == list(range(50))
    assert other.got[50][1]["entries"] == big
    assert all(source == "a" for source, _ in other.got)


def test_a_broken_link_is_told_and_comes_back(
    ends: tuple[End, End], network: MemoryNetwork
) -> None:
    one, other = ends
    network.cut("a", "b")
    until(ends, lambda: not one.links.is_up("b") and not other.links.is_up("a"))
    assert ("broken", "b") in one.events
    assert not one.links.send("b", {"type": "ping", "term": 0})
    network.heal()
    until(ends, lambda: one.links.is_up("b") and other.links.is_up("a"))


def test_two_dials_at_once_leave_one_link(ends: tuple[End, End], network: MemoryNetwork) -> None:
    one, other = ends
    greater = network.dial(
        "b", "a", one.links._protocol
    )  # as b would after a second without a link
    other.links._arrived.append((greater, True))
    other.links._ring(lambda: None)
    for _ in range(20):
        one.turn()
        other.turn()
    one.links.send("b", {"type": "read_index", "term": 1, "request_id": 7})
    until(ends, lambda: other.got)
    assert len(one.links._open) == len(other.links._open) == 1
    assert ("broken", "b") not in one.events


def test_silence_ends_a_link(ends: tuple[End, End]) -> None:
    one, _ = ends
    one.links.tick(time.monotonic() + 3, eager=False)
    assert ("broken", "b") in one.events


def test_pings_keep_an_idle_link(ends: tuple[End, End]) -> None:
    one, other = ends
    heard_s = other.links._open["a"].heard_s
    one.links.tick(time.monotonic() + 1, eager=False)
    until((other,), lambda: other.links._open["a"].heard_s > heard_s)
    assert other.got == []


@pytest.mark.parametrize(
    "rubbish",
    [b"\x00\x00\x00\x03abc", (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"), b"\x00\x00\x00\x00"],
)
def test_rubbish_ends_the_link_only(ends: tuple[End, End], rubbish: bytes) -> None:
    one, other = ends
    one.links._open["b"].link.socket.send(rubbish)
    until(ends, lambda: ("broken", "a") in other.events)
    until(ends, lambda: one.links.is_up("b") and other.links.is_up("a"))
    assert other.got == []


def test_a_node_that_takes_nothing_is_choked_then_eased(ends: tuple[End, End]) -> None:
    one, other = ends
    entries = [(bytes(1_000_000), 2, 1)]
    for _ in range(10):
        one.links.send(
            "b", {"type": "append_entries", "term": 1, "commit_index": 0, "entries": entries}
        )
    assert ("choked", "b") in one.events
    until(ends, lambda: len(other.got) == 10)
    until(ends, lambda: ("eased", "b") in one.events)


def test_the_poller_bears_that_a_callback_ends_another() -> None:
    poller = EpollPoller()
    pairs = [socket.socketpair() for _ in range(2)]
    called: list[int] = []

    def close_both(descriptor: int, _: int) -> None:
        called.append(descriptor)
        for reader, _writer in pairs:
            poller.unsubscribe(reader.fileno())

    for reader, writer in pairs:
        poller.subscribe(reader.fileno(), close_both, POLL_EVENT_TYPE.READ)
        writer.send(b"x")
    poller.poll(5)
    assert len(called) == 1
    poller.close()
    for pair in pairs:
        for end in pair:
            end.close()
