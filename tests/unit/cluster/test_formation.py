"""Nodes come together over real TLS: they found one cluster, join it, wait for approval, or say why not."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.cluster.address_book import Sighting
from node.cluster.ballot import ALONE_S, Ballot, Prepare
from node.cluster.formation import Formation
from node.cluster.join_messages import Refusal
from node.cluster.proof import Claim
from node.cluster.tables import (
    CLUSTER,
    MAX_REQUESTS,
    ClusterRow,
    DepartedNode,
    JoinRequest,
    JoinToken,
)
from node.cluster.token import Token, make
from node.cluster.token_rules import create
from node.control.placement import NodeRow
from node.errors import BadRequest, Conflict
from node.ids import RandomIds
from node.state.txn import insert, patch
from tests.unit.cluster.formation_nodes import Machine

IDS = RandomIds()


class Site:
    """Machines that are stopped at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.machines: list[Machine] = []

    def add(self, name: str, **options: object) -> Machine:
        made = Machine(self.directory / name, **options)  # type: ignore[arg-type]
        self.machines.append(made)
        return made

    def founder(self) -> tuple[Machine, Token]:
        """Return a machine that has founded its cluster, and a token of it."""
        made = self.add("founder", alone=True)
        made.begin()
        made.wait()
        ops, token = create(made.rows.db, made.clock.now_us(), IDS, valid_days=1, note="")
        made.rows.commit(*ops)
        return made, token


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    for machine in made.machines:
        machine.stopping.set()
    for machine in made.machines:
        machine.stop()


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_three_fresh_nodes_found_one_cluster(site: Site) -> None:
    token = make(IDS, founders=3)
    three = [site.add(f"n{number}", token=token) for number in range(3)]
    addresses = [machine.address for machine in three]
    for machine in three:  # each knows the others by multicast, or here by its configuration
        for other in three:
            machine.book.see(sighting(other))
    assert len(set(addresses)) == 3
    for machine in three:
        machine.begin()
    memberships = [machine.wait() for machine in three]
    founders = [m for m, got in zip(three, memberships, strict=True) if got.is_founder]
    assert len(founders) == 1
    assert {m.cluster_id for m in memberships} == {token.cluster_id}
    assert {machine.trust.ca_pem for machine in three} == {founders[0].trust.ca_pem}
    assert all(machine.trust.is_member for machine in three)
    rows = {row.id: row for row in founders[0].rows.db.rows(NodeRow)}
    joined = [machine for machine in three if machine is not founders[0]]
    for machine in joined:
        row = rows[machine.node_id]
        assert row.fingerprint == machine.trust.fingerprint
        assert (row.address, row.cluster_port) == machine.address
        assert row.role == "learner"
    stored = founders[0].rows.db.get(JoinToken, token.token_id)
    assert stored is not None
    assert stored.joined == 2


def test_machines_beyond_the_named_founders_make_no_second_cluster_however_many(site: Site) -> None:
    """With a number instead of names each of these two halves would found one, as soon as it is complete."""
    named, others = [f"n{number}" for number in range(3)], [f"m{number}" for number in range(3)]
    token = make(IDS, names=named)
    halves = [[site.add(name, token=token) for name in half] for half in (named, others)]
    for half in halves:  # split from the first moment on
        for machine in half:
            for other in half:
                machine.book.see(sighting(other))
    for machine in (*halves[0], *halves[1]):
        machine.begin()
    memberships = [machine.wait() for machine in halves[0]]
    assert sum(got.is_founder for got in memberships) == 1
    time.sleep(ALONE_S + 1)
    for machine in halves[1]:
        assert machine.thread.is_alive()
        assert machine.formation is not None
        [(name, is_well, detail), *_] = machine.formation.status()
        assert (name, is_well) == ("cluster", False)
        assert "its founders are n0, n1, n2" in detail
        machine.book.see(sighting(halves[0][0]))
        machine.book.see(sighting(halves[0][1]))
        machine.book.see(sighting(halves[0][2]))
    memberships = [machine.wait() for machine in halves[1]]
    assert not any(got.is_founder for got in memberships)
    assert len({machine.trust.ca_pem for half in halves for machine in half}) == 1


def test_nodes_without_a_voice_are_neither_counted_nor_heard(site: Site) -> None:
    """One founder of three and two machines that are none: together they are no majority, whatever they say."""
    token = make(IDS, names=["n0", "n1", "n2"])
    three = [site.add(name, token=token) for name in ("n0", "m0", "m1")]
    for machine in three:
        for other in three:
            machine.book.see(sighting(other))
    for machine in three:
        machine.begin()
    until(lambda: len(three[0].book.candidates()) >= 3)
    time.sleep(ALONE_S + 1)
    assert all(machine.thread.is_alive() for machine in three)
    assert three[0].formation is not None
    [(_name, _is_well, detail), *_] = three[0].formation.status()
    assert "2 of 3 nodes that found it; met 1 with this one" in detail
    claim = Claim(node_id="x", name="m0", public_key=b"")
    heard = three[0].formation._answer(claim, Prepare(ballot=Ballot(9, "x")))
    assert isinstance(heard, Refusal)


def sighting(machine: Machine) -> Sighting:
    host, port = machine.address
    return Sighting(node_id=machine.node_id, host=host, port=port)


def test_a_lone_node_founds_at_once_and_again_after_a_cut(site: Site) -> None:
    lone = site.add("lone", alone=True)
    lone.begin()
    first = lone.wait(20)
    assert first.is_founder
    row = lone.rows.db.get(ClusterRow, CLUSTER)
    assert row is not None
    assert row.cluster_id == first.cluster_id
    assert row.ca_certificate.encode() == lone.trust.ca_pem


def test_a_founder_that_went_down_before_its_first_commit_goes_on(site: Site) -> None:
    first = site.add("one", alone=True, node_id="n1")
    first.trust.found("c1")
    first.begin()
    again = first.wait(20)
    assert (again.is_founder, again.cluster_id) == (True, "c1")


def test_a_joiner_gets_in_with_the_token_and_again_when_the_answer_was_lost(site: Site) -> None:
    founder, token = site.founder()
    joiner = site.add("joiner", token=token, seeds=[founder.address], node_id="n2")
    joiner.begin()
    membership = joiner.wait()
    assert not membership.is_founder
    assert [m.node_id for m in membership.members] == ["n2"]
    assert membership.cluster_id == token.cluster_id
    assert joiner.book("n2") == joiner.address
    link = joiner.peers.dial_stranger(*founder.address, "hedgerow-join")
    link.close()
    for file in ("ca.pem", "node.pem"):
        (joiner.directory / "tls" / file).unlink()
    joiner.stop()
    again = site.add("joiner", token=token, seeds=[founder.address], node_id="n2")
    again.begin()
    again.wait()
    assert again.trust.is_member
    assert len(founder.rows.db.rows(NodeRow)) == 1


def test_members_link_with_the_certificates_that_they_got(site: Site) -> None:
    founder, token = site.founder()
    joiner = site.add("joiner", token=token, seeds=[founder.address])
    joiner.begin()
    joiner.wait()
    seen: list[str] = []
    founder.peers.serve("test", lambda link: seen.append(link.node_id))
    joiner.book.see(sighting(founder))
    joiner.peers.dial(founder.node_id, "test", 10.0).close()
    until(lambda: seen)
    assert seen == [joiner.node_id]


def refusal(site: Site, machine: Machine) -> str:
    """Return what the machine says of its first seed once it was refused."""
    machine.begin()
    assert machine.formation is not None
    until(lambda: machine.error or len(machine.formation.status()) > 1)  # type: ignore[union-attr]
    if machine.error:
        return machine.error.message
    return machine.formation.status()[1][2]


def test_an_ended_token_is_told_so(site: Site) -> None:
    founder, token = site.founder()
    founder.rows.commit(patch(JoinToken, token.token_id, is_revoked=True))
    late = site.add("late", token=token, seeds=[founder.address])
    assert "revoked" in refusal(site, late)
    founder.rows.commit(patch(JoinToken, token.token_id, is_revoked=False, expires_at=1))
    later = site.add("later", token=token, seeds=[founder.address])
    assert "expired" in refusal(site, later)
    assert founder.rows.db.rows(NodeRow) == []


def test_one_that_was_removed_and_one_that_lost_its_log_are_told_what_to_do(site: Site) -> None:
    founder, token = site.founder()
    founder.rows.commit(insert(DepartedNode(id="gone")))
    gone = site.add("gone", token=token, seeds=[founder.address], node_id="gone")
    assert "removed from the cluster for good" in refusal(site, gone)
    amnesiac = site.add("voter", token=token, seeds=[founder.address], node_id="voter")
    founder.rows.commit(
        insert(NodeRow(id="voter", name="v", fingerprint=amnesiac.trust.fingerprint))
    )
    assert "has lost its log" in refusal(site, amnesiac)
    twin = site.add("twin", token=token, seeds=[founder.address], node_id="voter")
    assert "Another node has the id" in refusal(site, twin)


def test_a_node_without_a_token_waits_for_approval(site: Site) -> None:
    founder, _ = site.founder()
    pending = site.add("pending", seeds=[founder.address])
    pending.begin()
    until(lambda: founder.rows.db.rows(JoinRequest))
    (request,) = founder.rows.db.rows(JoinRequest)
    assert request.id == pending.trust.fingerprint
    assert request.name == "pending"
    assert founder.rows.db.rows(NodeRow) == []
    assert pending.formation is not None
    until(lambda: "whose CA has the fingerprint" in pending.formation.status()[0][2])  # type: ignore[union-attr]
    founder.rows.commit(patch(JoinRequest, request.id, is_approved=True))
    pending.wait()
    assert pending.trust.ca_pem == founder.trust.ca_pem
    assert founder.rows.db.rows(JoinRequest) == []
    assert founder.rows.db.counter("join_requests") == 0


def test_a_pending_node_takes_only_the_word_of_the_cluster_that_it_asked(site: Site) -> None:
    founder, _ = site.founder()
    pending = site.add("pending", seeds=[founder.address])
    pending.begin()
    until(lambda: founder.rows.db.rows(JoinRequest))
    pending.stop()
    other = site.add("other", alone=True)
    other.begin()
    other.wait()
    other.rows.commit(
        insert(JoinRequest(id=pending.trust.fingerprint, node_id="p", is_approved=True))
    )
    again = site.add("pending", seeds=[other.address], node_id="p")
    assert "delete" in refusal(site, again)
    assert not again.trust.is_member


def test_waiting_nodes_are_bounded(site: Site) -> None:
    founder, _ = site.founder()
    now = founder.clock.now_us()
    for number in range(MAX_REQUESTS):
        founder.rows.commit(insert(JoinRequest(id=f"{number}", address=f"a{number}", seen_at=now)))
    late = site.add("late", seeds=[founder.address])
    assert "wait for approval" in refusal(site, late)
    assert len(founder.rows.db.rows(JoinRequest)) == MAX_REQUESTS
    founder.rows.commit(patch(JoinRequest, "1", seen_at=1), patch(JoinRequest, "2", seen_at=1))
    next_one = site.add("next", seeds=[founder.address])
    next_one.begin()
    until(lambda: founder.rows.db.get(JoinRequest, next_one.trust.fingerprint))
    assert founder.rows.db.get(JoinRequest, "1") is None


def test_tokens_that_only_join_never_found(site: Site) -> None:
    token = make(IDS, cluster_id=IDS.uuid())
    two = [site.add(f"n{number}", token=token) for number in range(2)]
    for machine in two:
        machine.book.see(sighting(two[0]))
        machine.book.see(sighting(two[1]))
        machine.begin()
    two[0].thread.join(2.0)
    for machine in two:
        assert machine.membership is None
        assert machine.formation is not None
        assert "looking for cluster" in machine.formation.status()[0][2]


def test_a_bad_token_file_and_bad_seeds_stop_the_start(site: Site) -> None:
    machine = site.add("one", token=make(IDS, founders=1))
    (machine.directory / "token").write_text("no token")
    machine.begin()
    with pytest.raises(BadRequest, match="one begins with"):
        machine.wait()
    bad = site.add("two", seeds=[("host", 99999)])
    bad.begin()
    with pytest.raises(BadRequest, match="host:port"):
        bad.wait()


def test_a_vow_that_cannot_be_read_is_not_forgotten(site: Site) -> None:
    machine = site.add("one", token=make(IDS, founders=3))
    (machine.directory / "formation.json").write_text("{")
    machine.begin()
    with pytest.raises(Conflict, match=r"formation\.json"):
        machine.wait()


def test_an_expired_token_founds_nothing(site: Site) -> None:
    machine = site.add("one", token=make(IDS, founders=1, expires_at=1))
    machine.begin()
    machine.thread.join(0.5)
    assert machine.formation is not None
    until(lambda: "has expired" in machine.formation.status()[0][2])  # type: ignore[union-attr]
    assert not machine.trust.is_member


def test_a_member_answers_no_ballot_whatever_its_token_file_says(site: Site) -> None:
    token = make(IDS, founders=3)
    member = site.add("member", token=token)
    Formation(
        config=member.config,
        node_id=member.node_id,
        trust=member.trust,
        peers=member.peers,
        book=member.book,
        door=member.door,
        clock=member.clock,
        ids=IDS,
    )  # what a node with a log has, and does not run
    fresh = site.add("fresh", token=token, seeds=[member.address])
    assert "does not answer" in refusal(site, fresh)
