"""Leases of several nodes over one store: who is called down, who comes back, who grants."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from node.clock import SystemClock
from node.cluster.lease import LeaseClaim, LeaseTimes
from node.cluster.liveness import LeaseAnswer, Liveness, LogAccess
from node.cluster.rpc import Answer, RpcReply, RpcRequest
from node.control.placement import NodeRow
from node.errors import Unavailable
from node.ids import RandomIds
from node.state.machine import Machine
from node.state.reader import Reader, Readers
from node.state.txn import Define, Txn, delete, encode_entry, encode_txn, insert

TIMES = LeaseTimes(lease_s=1.5, margin_s=0.3, suspect_s=0.8, ask_every_s=0.15, review_every_s=0.05)


class Site:
    """Nodes, their one log, and what is cut between them."""

    def __init__(self, directory: Path) -> None:
        self.machine = Machine(directory / "state.db")
        self.readers = Readers(directory / "state.db")
        self.leader: str | None = "a"
        self.cut: set[str] = set()
        self.routes: dict[str, Answer] = {}
        self.nodes: dict[str, Liveness] = {}
        self.news: list[tuple[str, bool]] = []
        self.broken: list[str] = []
        self._lock = threading.Lock()
        self._index = 0
        self.commit(Define(NodeRow.__table__), Define(LeaseClaim.__table__))

    def commit(self, *ops: object) -> None:
        txn = Txn(request_id=RandomIds().uuid(), ops=ops)  # type: ignore[arg-type]
        self.apply(encode_txn(txn))

    def apply(self, txn: bytes) -> bytes:
        with self._lock:
            self._index += 1
            outcome = self.machine.apply(self._index, encode_entry([txn]))[0]
            for row in self.db.rows(NodeRow):
                live = self.nodes.get(row.id)
                if row.state == "down" and live is not None and live.is_valid():
                    self.broken.append(f"{row.id} is down and has {live.holder.left_s():.2f} s")
            return outcome

    @property
    def db(self) -> Reader:
        return self.readers.reader()

    def add(self, name: str) -> Liveness:
        self.commit(insert(NodeRow(id=name, name=name)))
        made = self.nodes[name] = Liveness(
            node_id=name,
            access=LogAccess(
                leader=lambda: None if name in self.cut and name != self.leader else self.leader,
                confirm=lambda _timeout_s: name not in self.cut,
                propose=lambda txn, _timeout_s: self.propose(name, txn),
                db=self.readers.reader,
            ),
            rpc=Wire(self, name),
            clock=SystemClock(),
            ids=RandomIds(),
            on_change=lambda is_valid: self.news.append((name, is_valid)),
            lease_clock=SystemClock().boottime_s,
            times=TIMES,
        )
        made.start()
        return made

    def propose(self, name: str, txn: bytes) -> bytes:
        if name in self.cut:
            raise Unavailable("no majority")
        return self.apply(txn)

    def states(self) -> dict[str, str]:
        return {row.id: row.state for row in self.db.rows(NodeRow)}


class Wire:
    """One node's way to ask."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.name = name

    def route(self, method: str, path: str, answer: Answer) -> None:
        self.site.routes[self.name] = answer

    def call(self, node_id: str, method: str, path: str, *, timeout_s: float) -> RpcReply:
        if self.site.cut & {self.name, node_id}:
            raise Unavailable("cut")
        asked = RpcRequest(node_id=self.name, query={}, headers={}, body=b"")
        return self.site.routes[node_id](asked)


def eventually(test: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not test():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    try:
        for name in ("a", "b", "c"):
            made.add(name)
        eventually(lambda: all(n.is_valid() for n in made.nodes.values()), "all have a lease")
        yield made
        assert made.broken == []
    finally:
        made.cut.clear()
        for live in made.nodes.values():
            live.stop()
        made.machine.close()


def test_a_node_that_is_cut_off_loses_its_lease_then_is_down_and_comes_back(site: Site) -> None:
    b = site.nodes["b"]
    site.cut.add("b")
    eventually(lambda: site.states()["b"] == "suspect", "b is suspect")
    eventually(lambda: ("b", False) in site.news, "b is told that its lease is over")
    eventually(lambda: site.states()["b"] == "down", "b is down")
    row = site.db.get(NodeRow, "b")
    assert row is not None and row.lease_epoch >= 1
    assert not b.is_valid() and not b.health()[1]
    site.cut.clear()
    eventually(lambda: site.states() == {"a": "up", "b": "up", "c": "up"}, "all are up")
    eventually(b.is_valid, "b has a lease again")
    assert site.news.index(("b", False)) < len(site.news) - 1


def test_a_leader_without_majority_grants_nothing_and_another_one_goes_on(site: Site) -> None:
    site.cut.add("a")
    eventually(lambda: ("a", False) in site.news, "a has no lease")
    site.leader = "b"
    eventually(lambda: site.states()["a"] == "down", "b calls a down")
    eventually(lambda: site.nodes["b"].is_valid() and site.nodes["c"].is_valid(), "b grants")
    claim = site.db.get(LeaseClaim, "claim")
    assert claim is not None and claim.node_id == "b"


def test_a_node_that_is_removed_while_it_is_silent_harms_nobody(site: Site) -> None:
    site.cut |= {"b", "c"}
    site.commit(delete(NodeRow, "b"))
    eventually(lambda: site.states()["c"] == "down", "c is down")
    answer = msgspec.json.decode(
        site.routes["a"](RpcRequest(node_id="b", query={}, headers={}, body=b"")).body,
        type=LeaseAnswer,
    )
    assert not answer.granted and "no member" in answer.reason


def test_an_answer_that_got_lost_is_asked_for_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[bytes] = []
    real = site.propose

    def propose(name: str, txn: bytes) -> bytes:
        outcome = real(name, txn)
        if len(lost) < 3 and site.cut:
            lost.append(txn)
            raise Unavailable("no answer in time")
        return outcome

    monkeypatch.setattr(site, "propose", propose)
    site.cut.add("c")
    eventually(lambda: len(lost) == 3, "answers got lost")
    eventually(lambda: site.states()["c"] == "down", "c is down")
    assert len({bytes(txn) for txn in lost}) < 3  # the same bytes again
    site.cut.clear()
    eventually(site.nodes["c"].is_valid, "c is back")


def test_a_store_that_fails_for_a_moment_costs_the_lease_and_no_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = site.nodes["a"]

    def broken() -> Reader:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with monkeypatch.context() as patched:
        patched.setattr(leader, "_db", broken)
        eventually(lambda: not leader.is_valid(), "the leader has lost its lease")
    eventually(lambda: all(n.is_valid() for n in site.nodes.values()), "all have one again")
