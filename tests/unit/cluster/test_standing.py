"""Nodes tell each other whether they are members, and of which epoch, over real links."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cluster.peers import Address, PeerNetwork
from node.cluster.recover import Later, next_epoch
from node.cluster.standing import PROTOCOL, LogStanding, Question, Standing, StandingRules, ask
from node.cluster.tables import DepartedNode
from node.control.placement import NodeRow
from node.ids import RandomIds
from node.state.machine import Machine
from node.state.reader import Reader
from node.state.txn import AnyOp, Define, Txn, delete, encode_entry, encode_txn, insert
from node.testing.certificates import TestAuthority


class Member:
    """One node: rows, links and what it says."""

    def __init__(self, site: "Site", name: str, epoch: int) -> None:
        self.machine = Machine(site.place / f"{name}.db")
        self.db = Reader(self.machine.path)
        self.follows = True
        self.later: list[Later] = []
        files = site.authority.node(name)
        self.net = PeerNetwork(
            node_id=name,
            credentials=lambda: files,
            addresses=site.book.get,
            is_member=lambda node_id, *_: (
                Reader(self.machine.path).get(NodeRow, node_id) is not None
            ),
            listen=("127.0.0.1", 0),
        )
        self.standing = Standing(
            node_id=name,
            epoch=epoch,
            network=self.net,
            db=lambda: Reader(self.machine.path),
            own=lambda: LogStanding(voters=("a", "b", "c"), follows=self.follows),
            on_later=self.later.append,
            rules=StandingRules(ask_every_s=0.02),
        )
        self.standing.serve()
        self.net.start()
        site.book[name] = ("127.0.0.1", self.net.port)
        rows = [insert(NodeRow(id=one, name=one)) for one in ("a", "b", "c")]
        tables = [Define(NodeRow.__table__), Define(DepartedNode.__table__)]
        self.commit(*tables, *rows)

    def commit(self, *ops: AnyOp) -> None:
        txn = encode_txn(Txn(request_id=RandomIds().uuid(), ops=ops))
        self.machine.apply(self.machine.applied_index + 1, encode_entry([txn]))

    def removes(self, name: str) -> None:
        self.commit(delete(NodeRow, name), insert(DepartedNode(id=name)))


class Site:
    """Three nodes on loopback."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.authority = TestAuthority(place / "ca")
        self.book: dict[str, Address] = {}
        self.nodes: dict[str, Member] = {}

    def node(self, name: str, epoch: int = 0) -> Member:
        self.nodes[name] = Member(self, name, epoch)
        return self.nodes[name]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    for node in made.nodes.values():
        node.standing.stop()
        node.net.stop()
        node.machine.close()


def test_members_of_one_epoch_have_nothing_to_say(site: Site) -> None:
    nodes = [site.node(name) for name in "abc"]
    for node in nodes:
        node.follows = False
        node.standing.look()
        assert node.standing.health() == []
        assert node.later == []


def test_a_removed_node_learns_it_from_its_peers(site: Site) -> None:
    a, b, c = (site.node(name) for name in "abc")
    for node in (a, b):
        node.removes("c")
    c.follows = False
    c.standing.look()
    assert c.standing.is_removed
    ((_, ok, detail),) = c.standing.health()
    assert not ok
    assert "remove its state directory" in detail


def test_who_follows_nobody_removes_nobody(site: Site) -> None:
    a, c = site.node("a"), site.node("c")
    a.removes("c")
    a.follows = c.follows = False
    c.standing.look()
    assert c.standing.health() == []
    a.follows = True
    c.standing.look()
    assert c.standing.is_removed


def test_a_node_reads_its_removal_in_its_own_rows(site: Site) -> None:
    c = site.node("c")
    c.removes("c")
    c.standing.look()
    assert c.standing.is_removed


def test_a_node_that_nobody_knows_is_told_so(site: Site) -> None:
    a, c = site.node("a"), site.node("c")
    a.commit(delete(NodeRow, "c"))
    c.follows = False
    c.standing.look()
    assert "does not know" in c.standing.health()[0][2]
    c.follows = True
    c.standing.look()
    assert c.standing.health() == []


def test_a_node_of_an_earlier_epoch_hears_of_the_later_one(site: Site) -> None:
    epoch = next_epoch(0)
    a, b = site.node("a", epoch), site.node("b")
    b.standing.look()
    b.follows = False
    b.standing.look()  # c is not there, a is asked
    assert b.later == [Later(epoch=epoch, voters=("a", "b", "c"))]
    b.standing.look()
    assert len(b.later) == 1
    assert a.later == []


def test_a_node_of_a_later_epoch_tells_whom_it_asks(site: Site) -> None:
    epoch = next_epoch(0)
    a, b = site.node("a", epoch), site.node("b")
    a.follows = False
    a.standing.look()
    wait = iter(range(2000))
    while not b.later:
        assert next(wait, None) is not None
        b.standing._stopping.wait(0.01)
    assert b.later[0].epoch == epoch
    assert a.later == []


def test_one_that_knows_no_voters_makes_nobody_give_way(site: Site) -> None:
    # A witness: it has heard of the later epoch, and cannot say whom to follow in it.
    a, b = site.node("a"), site.node("b")
    question = Question(node_id="a", epoch=next_epoch(0), wants_members=True)
    answer = ask(a.net, "b", question)
    assert answer is not None
    assert answer.epoch == 0
    assert b.later == []


def test_two_recoveries_apart_are_told_and_nothing_is_given_up(site: Site) -> None:
    first = next_epoch(0)
    a, b = site.node("a", first), site.node("b", first ^ 1)
    for node in (a, b):
        node.follows = False
        node.standing.look()
        assert node.later == []
        assert "apart from each other" in node.standing.health()[0][2]


def test_a_former_member_does_not_make_others_give_way(site: Site) -> None:
    a, c = site.node("a"), site.node("c", next_epoch(0))
    a.removes("c")
    c.follows = False
    c.standing.look()
    assert a.later == []


def test_the_thread_asks(site: Site) -> None:
    epoch = next_epoch(0)
    site.node("a", epoch)
    b = site.node("b")
    b.follows = False
    b.standing.start()
    wait = iter(range(2000))
    while not b.later:
        assert next(wait, None) is not None
        b.standing._stopping.wait(0.01)


def test_nonsense_is_not_answered(site: Site) -> None:
    site.node("a")
    b = site.node("b")
    for nonsense in (b"\n", b"{}\n", b"x" * 9000):
        link = b.net.dial("a", PROTOCOL)
        link.socket.settimeout(10)
        link.socket.sendall(nonsense)
        with contextlib.suppress(OSError):
            assert link.socket.recv(10) == b""
        link.close()
    b.follows = False
    b.standing.look()
    assert b.standing.health() == []
