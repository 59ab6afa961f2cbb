"""The leader's controller over real rows: what it reads, what it changes, and when it leaves things alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from node.cluster.membership import (
    Controller,
    FollowerView,
    LogView,
    MembershipRules,
    find,
    remove,
)
from node.cluster.tables import DepartedNode
from node.control.placement import NodeRow
from node.errors import BadRequest, Conflict, NotFound
from node.ids import RandomIds
from node.state.machine import Machine
from node.state.reader import Reader
from node.state.row import Resource, Table
from node.state.txn import AnyOp, Define, Txn, delete, encode_entry, encode_txn, insert, patch
from node.testing.clock import FakeClock


class Guest(Resource):
    __table__ = Table(name="guests", indexes=(("node_id",),))
    stays_with_node = True


RULES = MembershipRules(lost_after_s=60, settle_s=3)


class AgreedLog:
    """A log whose nodes agree at once, or refuse."""

    def __init__(self, leader: str) -> None:
        self.leader, self.term = leader, 1
        self.voters = {leader}
        self.away: set[str] = set()
        self.behind: set[str] = set()
        self.learners: set[str] = set()
        self.refuses = ""
        self.done: list[str] = []

    def seen_by(self, node_id: str) -> LogView:
        is_leader = node_id == self.leader
        others = (self.voters | self.learners) - {node_id}
        followers = {
            one: FollowerView(
                match_index=0 if one in self.behind else 5000,
                contact_age_s=99.0 if one in self.away else 0.1,
            )
            for one in others
        }
        return LogView(
            is_leader=is_leader,
            term=self.term,
            last_index=5010,
            voters=frozenset(self.voters),
            followers=followers if is_leader else {},
        )

    def change_voter(
        self, verb: Literal["add", "rem"], node_id: str, callback: Callable[[str], None]
    ) -> None:
        if not self.refuses:
            self.done.append(f"{verb} {node_id}")
            (self.voters.add if verb == "add" else self.voters.remove)(node_id)
        callback(self.refuses)

    def transfer_leadership(self, node_id: str, callback: Callable[[str], None]) -> None:
        self.done.append(f"transfer {node_id}")
        self.leader, self.term = node_id, self.term + 1
        callback("")


class ViewOf:
    """The log as one node sees it."""

    def __init__(self, log: AgreedLog, node_id: str) -> None:
        self._node_id = node_id
        self._agreed = log
        self.change_voter = log.change_voter
        self.transfer_leadership = log.transfer_leadership

    def view(self) -> LogView:
        return self._agreed.seen_by(self._node_id)


class Site:
    """Rows, a log and a controller on each node."""

    def __init__(self, place: Path) -> None:
        self.machine = Machine(place / "state.db")
        self.clock, self.ids = FakeClock(), RandomIds()
        self.db = Reader(place / "state.db")
        self.log = AgreedLog("a")
        self.controllers: dict[str, Controller] = {}
        for row_type in (NodeRow, DepartedNode, Guest):
            self.commit(Define(row_type.__table__))
        self.join("a")

    def commit(self, *ops: AnyOp) -> None:
        self.propose(encode_txn(Txn(request_id=self.ids.uuid(), ops=ops)), 1.0)

    def propose(self, txn: bytes, _timeout_s: float) -> bytes:
        return self.machine.apply(self.machine.applied_index + 1, encode_entry([txn]))[0]

    def join(self, node_id: str, **more: object) -> None:
        fields = {"name": f"host-{node_id}", "role": "learner", **more}
        self.commit(insert(NodeRow(id=node_id, **fields)))
        if node_id != "a":
            self.log.learners.add(node_id)
        self.controllers[node_id] = Controller(
            node_id=node_id,
            voter_log=ViewOf(self.log, node_id),
            db=lambda: self.db,
            propose=self.propose,
            clock=self.clock,
            ids=self.ids,
            rules=RULES,
            row_types=(NodeRow, Guest),
        )

    def look(self, seconds: float = 0.0) -> list[str]:
        """Have all controllers look until nothing changes, after some time, and return what they did."""
        self.log.done.clear()
        begin_s = self.clock.monotonic_s()
        quiet = 0
        while quiet < 8 or self.clock.monotonic_s() < begin_s + seconds:
            self.clock.advance(0.5)
            changes = [one.step() for one in self.controllers.values()]
            quiet = 0 if any(changes) else quiet + 1
        return self.log.done

    def roles(self) -> dict[str, str]:
        return {row.id: row.role for row in self.db.rows(NodeRow)}

    def remove(self, name: str) -> NodeRow:
        return remove(self.db, self.propose, self.clock, self.ids, name)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.db.close()
    made.machine.close()


def test_learners_get_votes_and_the_rows_say_so(site: Site) -> None:
    for node_id in "bcd":
        site.join(node_id)
    assert site.look() == ["add b", "add c"]
    assert site.roles() == {"a": "voter", "b": "voter", "c": "voter", "d": "learner"}
    assert site.look() == []
    assert site.controllers["a"].health() == ("members", True, "3 of 4 nodes vote")


def test_one_that_is_behind_waits(site: Site) -> None:
    site.join("b")
    site.join("c")
    site.log.behind.add("c")
    assert site.look() == []
    assert site.controllers["a"].health()[2] == "1 of 3 nodes vote, 3 should"
    site.log.behind.clear()
    assert site.look() == ["add b", "add c"]


def test_a_new_leader_waits_before_it_changes_anything(site: Site) -> None:
    site.join("b")
    site.join("c")
    for _ in range(6):
        assert site.controllers["a"].step() is None
        site.clock.advance(0.5)
    assert site.log.done == []
    assert site.look() == ["add b", "add c"]


def three_and_a_spare(site: Site) -> None:
    for node_id in "bcd":
        site.join(node_id)
    site.look()


def test_a_voter_is_replaced_only_after_a_long_absence(site: Site) -> None:
    three_and_a_spare(site)
    site.log.away.add("c")
    assert site.look(50) == []
    _name, ok, detail = site.controllers["a"].health()
    assert not ok
    assert "c away" in detail
    assert site.look(20) == ["rem c", "add d"]
    assert site.roles() == {"a": "voter", "b": "voter", "c": "learner", "d": "voter"}
    site.log.away.clear()
    assert site.look(20) == []  # the one that returns displaces nobody


def test_an_absence_that_ended_does_not_count(site: Site) -> None:
    three_and_a_spare(site)
    for _ in range(3):
        site.log.away.add("c")
        assert site.look(50) == []
        site.log.away.clear()
        assert site.look(2) == []


def test_a_new_leader_counts_absences_anew(site: Site) -> None:
    three_and_a_spare(site)
    site.log.away.add("c")
    assert site.look(50) == []
    site.log.transfer_leadership("b", lambda _: None)
    assert site.look(50) == []
    assert site.look(20) == ["rem c", "add d"]


def test_a_node_that_is_down_by_its_row_is_not_live(site: Site) -> None:
    three_and_a_spare(site)
    site.commit(patch(NodeRow, "d", state="down"))
    site.log.away.add("c")
    assert site.look(90) == []


def test_a_node_is_removed_for_good(site: Site) -> None:
    three_and_a_spare(site)
    assert site.remove("host-c").id == "c"
    row = site.db.get(NodeRow, "c")
    assert row is not None
    assert (row.want, row.maintenance) == ("absent", True)
    assert site.remove("c").id == "c"
    assert site.look() == ["add d", "rem c"]
    assert site.db.get(NodeRow, "c") is None
    departed = site.db.get(DepartedNode, "c")
    assert departed is not None
    assert departed.name == "host-c"


def test_a_node_is_not_removed_while_something_is_on_it(site: Site) -> None:
    three_and_a_spare(site)
    site.commit(insert(Guest(id="g1", node_id="c")), insert(Guest(id="g2", node_id="b")))
    site.remove("c")
    assert site.look() == ["add d", "rem c"]
    assert site.db.get(NodeRow, "c") is not None
    assert "move or delete 1 guests" in site.controllers["a"].health()[2]
    site.commit(delete(Guest, "g1"))
    assert site.look() == []
    assert site.db.get(NodeRow, "c") is None


def test_a_leader_that_is_removed_hands_over(site: Site) -> None:
    three_and_a_spare(site)
    site.remove("a")
    assert site.look() == ["add d", "transfer b", "rem a"]
    assert site.log.leader == "b"
    assert site.db.get(NodeRow, "a") is None
    assert site.roles() == {"b": "voter", "c": "voter", "d": "voter"}


def test_the_last_working_node_is_not_removed(site: Site) -> None:
    with pytest.raises(Conflict, match="last one"):
        site.remove("a")
    site.join("b", state="down")
    with pytest.raises(Conflict, match="last one"):
        site.remove("a")
    site.remove("b")
    assert site.look() == []
    assert site.db.get(NodeRow, "b") is None


def test_a_node_is_found_by_id_its_beginning_or_name(site: Site) -> None:
    site.join("abcd1", name="x")
    site.join("abcd2", name="x")
    assert find(site.db, "abcd1").id == "abcd1"
    assert find(site.db, "host-a").id == "a"
    for name in ("x", "abcd"):
        with pytest.raises(BadRequest, match="give the id"):
            find(site.db, name)
    with pytest.raises(NotFound, match="node list"):
        find(site.db, "abc")


def test_a_refusal_is_told(site: Site) -> None:
    site.join("b")
    site.join("c")
    site.log.refuses = "busy"
    with pytest.raises(Conflict, match="busy"):
        site.look()
    assert "add b" in site.controllers["a"].health()[2]
    site.log.refuses = ""
    assert site.look() == ["add b", "add c"]


def test_the_thread_looks_while_it_runs(site: Site) -> None:
    site.join("b")
    site.join("c")
    real = Controller(
        node_id="a",
        voter_log=ViewOf(site.log, "a"),
        db=lambda: Reader(site.machine.path),
        propose=site.propose,
        clock=site.clock,
        ids=site.ids,
        rules=MembershipRules(settle_s=0, period_s=0.01),
    )
    real.start()
    wait = iter(range(3000))
    while site.log.voters != {"a", "b", "c"}:
        assert next(wait, None) is not None
        real._stopping.wait(0.01)
    real.stop()
    assert not real._thread.is_alive()
