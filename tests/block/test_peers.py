"""Replicas of other nodes by the routes that nodes serve each other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.errors import Unavailable
from node.plugins import block
from node.plugins.block.drivers.replicated.dialling import dial
from node.plugins.block.drivers.replicated.peer_client import DataPortPeers
from node.plugins.block.drivers.replicated.peers import Request
from node.plugins.block.drivers.replicated.replica_process import Place
from node.plugins.block.drivers.replicated.replica_site import ReplicaSite
from node.testing.cloud import Cloud
from node.testing.members import MemberNetwork

MIB = 1 << 20
LAYERS = ("v.raw",)


def site_of(network: MemberNetwork, node: str) -> ReplicaSite:
    state = network.members[node].control.config.state_dir
    return ReplicaSite(state / "block", Place())


@pytest.fixture
def network(place: Path) -> Iterator[MemberNetwork]:
    made = MemberNetwork(Cloud(place, [block], node_id="a"))
    made.add("a")
    made.add("b")
    yield made
    for node in made.members:
        for volume in site_of(made, node).volumes():
            site_of(made, node).end(volume)


@pytest.fixture
def peers(network: MemberNetwork) -> DataPortPeers:
    return DataPortPeers(network.members["a"].control, site_of(network, "a"))


def test_a_replica_of_another_node_is_served_and_fenced(
    network: MemberNetwork, peers: DataPortPeers
) -> None:
    peers.ask("b", "prepare", "v", Request(layers=LAYERS, size_bytes=MIB))
    request = Request(epoch=3, layers=LAYERS, size_bytes=MIB)
    served = peers.ask("b", "serve", "v", request)
    with dial("b", "127.0.0.1", served.port, served.export) as nbd:
        nbd.write(0, b"a" * 512)
    peers.ask("b", "fence", "v", Request(epoch=3))
    with pytest.raises(Unavailable):
        peers.ask("b", "serve", "v", request)
    peers.ask("b", "delete", "v", Request(layers=LAYERS))
    assert site_of(network, "b").volumes() == []


def test_a_replica_is_received_with_the_layers_below(
    network: MemberNetwork, peers: DataPortPeers
) -> None:
    peers.ask("a", "prepare", "v", Request(layers=LAYERS, size_bytes=8 * MIB))
    base = site_of(network, "a").layers.path("v.raw")
    with base.open("r+b") as file:
        file.seek(4 * MIB)
        file.write(b"frozen")
    request = Request(epoch=1, layers=(*LAYERS, "w.qcow2"), size_bytes=8 * MIB, source="a")
    received = peers.ask("b", "receive", "v", request)
    with dial("b", "127.0.0.1", received.port, received.export) as nbd:
        assert nbd.read(4 * MIB, 6) == b"frozen"
        assert nbd.size_bytes == 8 * MIB
    assert site_of(network, "b").layers.used_bytes(LAYERS) < 2 * MIB, "holes were filled"
    peers.ask("b", "serve", "v", request)
    with pytest.raises(Unavailable, match="not one to be filled"):
        peers.ask("b", "receive", "v", request)


@pytest.mark.parametrize("name", ["..", "a/../../b", ".hidden", "x" * 200])
def test_names_that_lead_elsewhere_are_refused(
    network: MemberNetwork, peers: DataPortPeers, name: str
) -> None:
    with pytest.raises(Unavailable):
        peers.ask("b", "prepare", "v", Request(layers=(name,), size_bytes=MIB))


def test_a_node_that_is_gone_is_unavailable(network: MemberNetwork, peers: DataPortPeers) -> None:
    network.dead.add("b")
    with pytest.raises(Unavailable):
        peers.ask("b", "fence", "v", Request(epoch=1))
