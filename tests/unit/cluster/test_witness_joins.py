"""How a witness is let in, and what it reaches: the log's links, and nothing that holds rows."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from node.cluster.join import Acquaintance, knock
from node.cluster.join_messages import Admitted, Join, JoinWitness, Refusal
from node.cluster.peers import Link, PeerNetwork
from node.cluster.roster import member_row
from node.cluster.self_claim import claim_of
from node.cluster.tables import CLUSTER, ClusterRow, WitnessRow
from node.cluster.token import Token
from node.cluster.token_rules import create
from node.cluster.trust import Trust
from node.cluster.witness import identity
from node.cluster.witness_vote import PREFIX
from node.control.placement import NodeRow
from node.errors import Conflict, Unavailable
from node.ids import RandomIds
from node.state.txn import insert, patch
from node.testing.clock import FakeClock
from tests.unit.cluster.formation_nodes import Machine

ID = f"{PREFIX}1"


class Scene:
    """A cluster of one, and a machine that would be its witness."""

    def __init__(self, place: Path) -> None:
        self.member = Machine(place / "member", alone=True)
        self.outside = Machine(place / "outside")
        self.trust = Trust(place / "witness", ID, FakeClock())
        self.member.begin()
        self.member.wait()
        ops, self.token = create(self.member.rows.db, 1, RandomIds(), valid_days=0, note="")
        self.member.rows.commit(*ops)

        here = NodeRow(
            id=self.member.node_id, name="member", address="127.0.0.1", cluster_port=1,
            fingerprint=self.member.trust.fingerprint,
        )  # fmt: skip
        self.member.rows.commit(insert(here))

    def knock(self, token: Token | None, node_id: str = ID) -> Acquaintance:
        claim = msgspec.structs.replace(
            claim_of(self.outside.config, node_id, self.trust), cluster_port=0
        )
        return knock(self.outside.peers, self.member.address, claim, self.trust, token)

    def close(self) -> None:
        self.member.stop()
        self.outside.stop()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def refused(scene: Scene, request: Join | JoinWitness, token: Token | None, node_id: str = ID) -> str:
    one = scene.knock(token, node_id)
    try:
        answer = one.ask(request)
    finally:
        one.close()
    assert isinstance(answer, Refusal)
    return answer.code


def test_a_witness_is_admitted_with_a_token_and_is_no_node(scene: Scene) -> None:
    one = scene.knock(scene.token)
    answer = one.ask(JoinWitness())
    one.close()
    assert isinstance(answer, Admitted)
    assert [member.node_id for member in answer.members] == [scene.member.node_id]
    assert answer.members[0].fingerprint
    db = scene.member.rows.db
    row = member_row(db, ID)
    assert isinstance(row, WitnessRow)
    assert (row.fingerprint, row.role) == (scene.trust.fingerprint, "learner")
    assert ID not in {node.id for node in db.rows(NodeRow)}


def test_a_witness_is_not_admitted_as_a_node_nor_a_node_as_a_witness(scene: Scene) -> None:
    assert refused(scene, Join(), scene.token) == "refused"
    assert refused(scene, JoinWitness(), scene.token, "node-1") == "refused"
    assert refused(scene, JoinWitness(), None) == "refused"
    assert not scene.member.rows.db.rows(WitnessRow)


def test_a_witness_that_voted_and_forgot_does_not_come_back(scene: Scene) -> None:
    rows = scene.member.rows
    one = scene.knock(scene.token)
    one.ask(JoinWitness())
    one.close()
    rows.commit(patch(WitnessRow, ID, role="voter"))
    assert refused(scene, JoinWitness(), scene.token) == "lost"


def test_a_witness_reaches_nothing_that_holds_rows(scene: Scene) -> None:
    one = scene.knock(scene.token)
    answer = one.ask(JoinWitness())
    one.close()
    assert isinstance(answer, Admitted)
    scene.trust.join(answer.ca, answer.certificate)
    reached: list[str] = []

    def take(link: Link) -> None:
        reached.append(link.node_id)
        link.socket.sendall(b"x")

    scene.member.peers.serve("rows", take)
    scene.member.peers.serve("log", take, witnesses=True)
    network = PeerNetwork(
        node_id=ID, credentials=scene.trust.credentials, addresses=lambda _: scene.member.address
    )
    for protocol, is_open in (("log", True), ("rows", False)):
        try:
            link = network.dial(scene.member.node_id, protocol, 5.0)
            got = link.socket.recv(1)
            link.close()
        except (Unavailable, OSError):
            got = b""
        assert bool(got) is is_open, protocol
    assert reached == [ID]


def test_a_witness_needs_a_directory_of_its_own(tmp_path: Path) -> None:
    made = identity(tmp_path)
    assert made.startswith(PREFIX)
    assert identity(tmp_path) == made
    (tmp_path / "identity.json").write_text('{"node_id": "a-node"}')
    with pytest.raises(Conflict, match="use another one"):
        identity(tmp_path)


def test_a_witness_waits_until_all_nodes_know_of_witnesses(scene: Scene) -> None:
    scene.member.rows.commit(patch(ClusterRow, CLUSTER, feature_level=1))
    assert refused(scene, JoinWitness(), scene.token) == "busy"
