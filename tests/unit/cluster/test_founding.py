"""The cluster's row: made once, and every certificate of every node from it."""

from pathlib import Path

from cryptography import x509

from node.cluster.founding import Certificates, authority_of
from node.cluster.tables import CLUSTER, ClusterRow
from node.cluster.trust import Trust
from node.config import ApiSection, Config
from node.ids import RandomIds
from node.state.txn import delete, insert
from node.testing.clock import FakeClock
from tests.unit.cluster.rows import Rows


def node(directory: Path, node_id: str, store: Rows, clock: FakeClock) -> Certificates:
    return Certificates(Trust(directory, node_id, clock), Config({}), clock, lambda: store.db)


def test_a_founders_ca_becomes_the_clusters(tmp_path: Path) -> None:
    store, clock = Rows(tmp_path / "state.db"), FakeClock()
    founder = node(tmp_path / "a", "n1", store, clock)
    assert founder.first_rows(RandomIds()) == []
    assert not founder.keep()
    founder.found(RandomIds(), "c1")
    assert founder.keep(), "the API's certificate is there before the first commit"
    store.commit(*founder.first_rows(RandomIds()))
    row = store.db.get(ClusterRow, CLUSTER)
    assert row is not None
    assert row.cluster_id == "c1"
    founder.keep()
    assert not (tmp_path / "a" / "ca.key").exists()
    assert founder.first_rows(RandomIds()) == []
    assert not founder.keep()
    authority = authority_of(store.db)
    assert authority is not None
    assert authority.certificate_pem == founder.trust.ca_pem


def test_any_member_renews_by_itself(tmp_path: Path) -> None:
    store, clock = Rows(tmp_path / "state.db"), FakeClock()
    founder = node(tmp_path / "a", "n1", store, clock)
    founder.found(RandomIds(), "c1")
    store.commit(*founder.first_rows(RandomIds()))
    other = node(tmp_path / "b", "n2", store, clock)
    assert other.keep()
    assert other.trust.is_member
    assert other.trust.ca_pem == founder.trust.ca_pem
    clock.advance(400 * 86_400.0)
    assert other.keep()
    assert other.trust.is_member


def test_a_row_that_cannot_be_used_stops_no_node(tmp_path: Path) -> None:
    store, clock = Rows(tmp_path / "state.db"), FakeClock()
    own = node(tmp_path / "a", "n1", store, clock)
    store.commit(insert(ClusterRow(id=CLUSTER, cluster_id="c1")))
    assert not own.keep()
    store.commit(delete(ClusterRow, CLUSTER))
    assert authority_of(store.db) is None


def test_an_api_on_every_address_has_the_nodes_own_in_its_certificate(tmp_path: Path) -> None:
    addresses = ["192.0.2.5"]
    rows, clock = Rows(tmp_path / "state.db"), FakeClock()
    config = Config({"api": ApiSection(listen="0.0.0.0")})
    trust = Trust(tmp_path / "a", "n1", clock)
    own = Certificates(trust, config, clock, lambda: rows.db, lambda _config: addresses[-1])
    own.found(RandomIds(), "c1")
    assert own.keep()
    assert not own.keep()
    addresses.append("192.0.2.6")
    assert own.keep(), "it moved"
    certificate = x509.load_pem_x509_certificate(trust.server_files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "192.0.2.6" in {str(name.value) for name in names}
