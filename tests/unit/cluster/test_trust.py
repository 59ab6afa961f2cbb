"""A node's key and certificates: what is made, what is kept, what is refused, and how they renew."""

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from node.cluster.authority import Authority, common_name, issued_by, pem, spki_of
from node.cluster.server_files import await_server_files, server_files
from node.cluster.trust import Trust, api_names, ensure
from node.config import ApiSection, ClusterSection, Config, NodeSection
from node.errors import Conflict, Unavailable
from node.testing.clock import FakeClock

DAY_S = 86_400.0


def moment(clock: FakeClock) -> dt.datetime:
    return dt.datetime.fromtimestamp(clock.now_us() / 1e6, dt.UTC)


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_fresh_node_has_a_key_and_belongs_nowhere(tmp_path: Path) -> None:
    first = Trust(tmp_path, "n1", FakeClock())
    again = Trust(tmp_path, "n1", FakeClock())
    assert first.fingerprint == again.fingerprint
    assert len(first.fingerprint) == 64
    assert not first.is_member
    shown = first.credentials()
    assert shown.ca is None
    assert spki_of(load(shown.certificate)) == first.public_key
    assert (tmp_path / "node.key").stat().st_mode & 0o777 == 0o600


def test_the_founder_makes_one_authority_and_shows_its_certificate(tmp_path: Path) -> None:
    trust = Trust(tmp_path, "n1", FakeClock())
    made = trust.found("c1")
    assert trust.is_member
    assert made.cluster_id == "c1"
    assert trust.found("c2").certificate == made.certificate, "a second founding keeps the first CA"
    assert trust.credentials().ca == tmp_path / "ca.pem"
    assert common_name(load(trust.credentials().certificate)) == "n1"
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600
    trust.forget_founding()
    assert trust.founded() is None
    assert trust.is_member


def test_a_joiner_takes_only_what_is_for_it(tmp_path: Path) -> None:
    clock = FakeClock()
    authority = Authority.make("c1", moment(clock))
    joiner, other = Trust(tmp_path / "a", "n1", clock), Trust(tmp_path / "b", "n2", clock)
    key = load(other.credentials().certificate).public_key()
    foreign = pem(authority.issue_node("n1", key, moment(clock)))  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        joiner.join(authority.certificate_pem, foreign)
    own_key = load(joiner.credentials().certificate).public_key()
    misnamed = pem(authority.issue_node("n2", own_key, moment(clock)))  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        joiner.join(authority.certificate_pem, misnamed)
    good = pem(authority.issue_node("n1", own_key, moment(clock)))  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        joiner.join(Authority.make("c2", moment(clock)).certificate_pem, good)
    with pytest.raises(Conflict):
        joiner.join(b"nothing", good)
    assert not joiner.is_member
    joiner.join(authority.certificate_pem, good)
    assert joiner.is_member


def test_certificates_renew_late_in_their_life_and_after_a_year(tmp_path: Path) -> None:
    clock = FakeClock()
    trust = Trust(tmp_path, "n1", clock)
    authority = trust.found("c1")
    assert trust.keep(authority, ["edge"])
    assert not trust.keep(authority, ["edge"])
    before = load(tmp_path / "node.pem")
    clock.advance(59 * DAY_S)
    assert not trust.keep(authority, ["edge"])
    clock.advance(2 * DAY_S)
    assert trust.keep(authority, ["edge"])
    renewed = load(tmp_path / "node.pem")
    assert renewed.not_valid_after_utc > before.not_valid_after_utc
    assert renewed.public_key() == before.public_key(), "the key is what the node is known by"
    clock.advance(365 * DAY_S)
    assert load(tmp_path / "node.pem").not_valid_after_utc < moment(clock)
    assert trust.keep(authority, ["edge"])
    assert load(tmp_path / "node.pem").not_valid_after_utc > moment(clock)
    assert load(tmp_path / "server.pem").not_valid_after_utc > moment(clock)


def test_the_servers_certificate_follows_its_names(tmp_path: Path) -> None:
    trust = Trust(tmp_path, "n1", FakeClock())
    authority = trust.found("c1")
    trust.keep(authority, ["edge", "192.0.2.1"])
    key = (tmp_path / "server.key").read_bytes()
    assert trust.keep(authority, ["edge", "192.0.2.9"])
    names = load(tmp_path / "server.pem").extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert {str(name.value) for name in names.value} == {"edge", "192.0.2.9"}
    assert (tmp_path / "server.key").read_bytes() == key
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")


def test_another_authority_replaces_everything(tmp_path: Path) -> None:
    clock = FakeClock()
    trust = Trust(tmp_path, "n1", clock)
    trust.keep(trust.found("c1"), ["edge"])
    other = Authority.make("c1", moment(clock))
    assert trust.keep(other, ["edge"])
    for name in ("node.pem", "server.pem"):
        assert issued_by(load(tmp_path / name), other.certificate)
    assert trust.is_member


def test_a_lab_of_before_keeps_its_authority(tmp_path: Path) -> None:
    old = Authority.make("", dt.datetime.now(dt.UTC))
    (tmp_path / "ca.pem").write_bytes(old.certificate_pem)
    (tmp_path / "ca.key").write_bytes(old.key_pem)
    trust = Trust(tmp_path, "n1", FakeClock())
    assert not trust.is_member
    assert trust.found("c1").certificate == old.certificate
    assert trust.is_member


def test_names_of_the_api() -> None:
    config = Config(
        {
            "node": NodeSection(name="edge"),
            "api": ApiSection(listen="0.0.0.0", public_host="cloud.example"),
            "cluster": ClusterSection(virtual_address="192.0.2.9/24"),
        }
    )
    names = api_names(config, "192.0.2.1")
    assert names == [
        "edge", "localhost", "127.0.0.1", "::1", "cloud.example", "192.0.2.1", "192.0.2.9",
    ]  # fmt: skip


def test_whoever_serves_waits_for_the_certificate(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await_server_files(tmp_path, timeout_s=0.0)
    files = ensure(tmp_path, ["127.0.0.1"], FakeClock())
    assert await_server_files(tmp_path, timeout_s=0.0) == files == server_files(tmp_path)
