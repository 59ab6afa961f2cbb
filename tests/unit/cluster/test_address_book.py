"""Where other nodes are, what is remembered of it, and what a node says of itself."""

from pathlib import Path

import pytest

from node.cluster.address import own_address
from node.cluster.address_book import PEERS_FILE, AddressBook, Sighting
from node.cluster.discovery import Announcement, Discovery, cluster_digest
from node.cluster.join_messages import Member
from node.cluster.self_claim import claim_of, seeds_of
from node.cluster.trust import Trust
from node.config import ClusterSection, Config, NodeSection
from node.control.placement import NodeRow
from node.errors import BadRequest
from node.state.txn import insert, patch
from node.testing.clock import FakeClock
from tests.unit.cluster.rows import Rows


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return Rows(tmp_path / "state.db")


def book(directory: Path, rows: Rows) -> AddressBook:
    return AddressBook(directory, lambda: rows.db)


def test_rows_know_best_then_memory_then_multicast(tmp_path: Path, rows: Rows) -> None:
    one = book(tmp_path, rows)
    assert one("n") is None
    one.see(Sighting(node_id="n", host="192.0.2.1", port=1))
    assert one("n") == ("192.0.2.1", 1)
    one.remember([Member(node_id="n", host="192.0.2.2", port=2)])
    assert one("n") == ("192.0.2.2", 2)
    rows.commit(insert(NodeRow(id="n", name="n", address="192.0.2.3", cluster_port=3)))
    assert one("n") == ("192.0.2.3", 3)
    rows.commit(patch(NodeRow, "n", address="192.0.2.4"))
    assert one("n") == ("192.0.2.4", 3), "an address that changes is no event"


def test_what_is_remembered_survives_and_what_cannot_be_read_is_forgotten(
    tmp_path: Path, rows: Rows
) -> None:
    rows.commit(insert(NodeRow(id="n", name="n", address="192.0.2.3", cluster_port=3)))
    rows.commit(insert(NodeRow(id="nowhere", name="x")))
    book(tmp_path, rows).remember()
    empty = Rows(tmp_path / "other.db")
    again = book(tmp_path, empty)
    assert again("n") == ("192.0.2.3", 3)
    again.remember()
    assert book(tmp_path, empty)("n") == ("192.0.2.3", 3), "an empty store takes nothing away"
    (tmp_path / PEERS_FILE).write_bytes(b"\xff[")
    assert book(tmp_path, empty)("n") is None


def test_candidates_are_each_place_once_and_bounded(tmp_path: Path, rows: Rows) -> None:
    one = book(tmp_path, rows)
    one.remember([Member(node_id="a", host="192.0.2.1", port=1)])
    one.see(Sighting(node_id="a", host="192.0.2.1", port=1, digest="d"))
    one.see(Sighting(node_id="b", host="192.0.2.2", port=1))
    found = {(c.host, c.port): c.digest for c in one.candidates()}
    assert found == {("192.0.2.1", 1): "d", ("192.0.2.2", 1): ""}
    one.unsee("b")
    assert len(one.candidates()) == 1
    for number in range(2000):
        one.see(Sighting(node_id=f"n{number}", host="192.0.2.9", port=number + 1))
    assert len(one.sightings()) <= 512
    assert one.sightings()[0].node_id == "n1999"


def test_two_clusters_of_one_id_are_noticed(tmp_path: Path, rows: Rows) -> None:
    one = book(tmp_path, rows)
    discovery = Discovery(Config({}), node_id="me", fingerprint="f", book=one)
    digest = cluster_digest("c1")
    one.see(Sighting(node_id="twin", host="192.0.2.7", port=1, digest=digest, ca="b" * 16))
    one.see(Sighting(node_id="fresh", host="192.0.2.8", port=1, digest=digest))
    one.see(Sighting(node_id="mate", host="192.0.2.9", port=1, digest=digest, ca="a" * 16))
    assert discovery.health() == []
    discovery.announce(Announcement(cluster_id="c1", ca="a" * 64))
    assert [twin.node_id for twin in discovery.twins()] == ["twin"]
    assert "192.0.2.7" in discovery.health()[0][2]
    assert cluster_digest("") == ""


def test_a_node_that_is_to_be_silent_starts_nothing(tmp_path: Path, rows: Rows) -> None:
    for section in (ClusterSection(port=0), ClusterSection(port=7444, discovery=False)):
        config = Config({"cluster": section})
        silent = Discovery(config, node_id="me", fingerprint="f", book=book(tmp_path, rows))
        silent.start()
        assert silent._thread is None
        silent.stop()


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("", ()),
        ("a, b:1 ,192.0.2.1:65535", (("a", 7444), ("b", 1), ("192.0.2.1", 65535))),
        ("[2001:db8::1]:9 2001:db8::2", (("2001:db8::1", 9), ("2001:db8::2", 7444))),
    ],
)
def test_seeds(text: str, seeds: tuple[tuple[str, int], ...]) -> None:
    assert seeds_of(ClusterSection(port=7444, seeds=text)) == seeds


@pytest.mark.parametrize("text", ["a:b:c:", "a:70000", ":7", "a:x"])
def test_bad_seeds_are_named(text: str) -> None:
    with pytest.raises(BadRequest, match="seeds"):
        seeds_of(ClusterSection(port=7444, seeds=text))


def test_a_node_says_what_its_configuration_says(tmp_path: Path) -> None:
    config = Config(
        {
            "node": NodeSection(name="edge"),
            "cluster": ClusterSection(port=7444, address="192.0.2.5", failure_domain="rack1"),
        }
    )
    trust = Trust(tmp_path, "n1", FakeClock())
    claim = claim_of(config, "n1", trust)
    assert (claim.name, claim.address, claim.cluster_port) == ("edge", "192.0.2.5", 7444)
    assert claim.public_key == trust.public_key
    assert own_address(Config({"cluster": ClusterSection(listen="192.0.2.6")})) == "192.0.2.6"
    assert "0.0.0.0" not in own_address(Config({"cluster": ClusterSection(listen="0.0.0.0")}))
