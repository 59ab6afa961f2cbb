"""Interfaces of a server that come and go, in its rows and in its guest."""

from pathlib import Path
from typing import Any

import pytest

from node.plugins.compute.tables import Server
from tests.api.compute.conftest import NETWORK, SUBNET, ServerPort
from tests.api.compute.nodes import SERVERS, ComputeCluster, ComputeNode


@pytest.fixture
def cluster(tmp_path: Path) -> ComputeCluster:
    return ComputeCluster(tmp_path, ("n1", "n2"))


def path(server: Server, port_id: str = "") -> str:
    return f"{SERVERS}/{server.id}/os-interface" + (f"/{port_id}" if port_id else "")


def attach(cluster: ComputeCluster, server: Server, version: str = "2.70", **wish: Any) -> Any:
    body = {"interfaceAttachment": wish}
    headers = {"OpenStack-API-Version": f"compute {version}"}
    return cluster.cloud.post(path(server), json=body, token=cluster.admin, headers=headers)


def node_of(cluster: ComputeCluster, server: Server) -> ComputeNode:
    return cluster.nodes[server.node_id]


def guest(cluster: ComputeCluster, server: Server) -> set[str]:
    return set(node_of(cluster, server).hypervisor.plugged[server.id])


def taps(cluster: ComputeCluster, server: Server) -> set[str]:
    ports = cluster.cloud.db.rows(ServerPort, server_id=server.id)
    return {f"tap{port.id[:11]}" for port in ports}


def test_a_running_guest_gets_an_interface_and_loses_it(cluster: ComputeCluster) -> None:
    server = cluster.running()
    answer = attach(cluster, server, net_id=NETWORK)
    assert answer.status == 200, answer.body
    made = answer.json["interfaceAttachment"]
    assert set(made) == {"net_id", "port_id", "mac_addr", "port_state", "fixed_ips", "tag"}
    assert made["fixed_ips"] == [{"subnet_id": SUBNET, "ip_address": "10.0.0.3"}]
    assert cluster.row(server.id).port_ids == [*server.port_ids, made["port_id"]]
    cluster.settle()
    assert guest(cluster, server) == taps(cluster, server)
    assert len(guest(cluster, server)) == 2
    assert cluster.cloud.delete(path(server, made["port_id"]), token=cluster.admin).status == 202
    cluster.settle()
    assert guest(cluster, server) == taps(cluster, server)
    assert cluster.row(server.id).port_ids == server.port_ids
    listed = cluster.cloud.get(path(server), token=cluster.admin).json["interfaceAttachments"]
    assert [entry["port_id"] for entry in listed] == server.port_ids
    assert cluster.cloud.delete(path(server, made["port_id"]), token=cluster.admin).status == 404
    actions = cluster.cloud.get(f"{SERVERS}/{server.id}/os-instance-actions", token=cluster.admin)
    names = {entry["action"] for entry in actions.json["instanceActions"]}
    assert {"attach_interface", "detach_interface"} <= names


def test_a_guest_that_does_not_listen_is_asked_again(cluster: ComputeCluster) -> None:
    server = cluster.running()
    hypervisor = node_of(cluster, server).hypervisor
    hypervisor.lets_interfaces_go = False
    cluster.cloud.delete(path(server, server.port_ids[0]), token=cluster.admin)
    sync = node_of(cluster, server).sync
    assert sync.reconcile(server.id).again_s
    assert sync.reconcile(server.id).again_s
    assert [verb for verb, _id in hypervisor.calls].count("unplug") == 2
    hypervisor.lets_interfaces_go = True
    cluster.settle()
    assert guest(cluster, server) == set()
    assert sync.reconcile(server.id).again_s is None


def test_a_server_that_is_off_gets_it_when_it_starts(cluster: ComputeCluster) -> None:
    server = cluster.running()
    cluster.act(server.id, "os-stop")
    cluster.settle()
    assert attach(cluster, server).status == 200
    cluster.settle()
    cluster.act(server.id, "os-start")
    cluster.settle()
    assert guest(cluster, server) == taps(cluster, server)
    assert len(guest(cluster, server)) == 2


@pytest.mark.parametrize(
    ("version", "wish", "status"),
    [
        ("2.70", {"net_id": "x"}, 400),
        ("2.70", {"net_id": NETWORK, "port_id": NETWORK}, 400),
        ("2.70", {"fixed_ips": [{"ip_address": "10.0.0.9"}]}, 400),
        ("2.70", {"net_id": NETWORK, "fixed_ips": []}, 400),
        ("2.70", {"net_id": NETWORK, "fixed_ips": [{"ip_address": "ten"}]}, 400),
        ("2.70", {"net_id": NETWORK, "fixed_ips": [{"ip_address": "10.0.0.9"}]}, 200),
        ("2.48", {"net_id": NETWORK, "tag": "a"}, 400),
        ("2.49", {"net_id": NETWORK, "tag": "a"}, 200),
        ("2.49", {"net_id": NETWORK, "tag": "a,b"}, 400),
        ("2.70", {"net_id": SUBNET}, 404),
        ("2.70", {"colour": "red"}, 400),
    ],
)
def test_what_is_asked_for(
    cluster: ComputeCluster, version: str, wish: dict[str, Any], status: int
) -> None:
    server = cluster.running()
    answer = attach(cluster, server, version, **wish)
    assert answer.status == status, answer.body


def test_who_may_and_when(cluster: ComputeCluster) -> None:
    server = cluster.running()
    stranger = cluster.cloud.token(project_id="other")
    body: dict[str, Any] = {"interfaceAttachment": {}}
    assert cluster.cloud.post(path(server), json=body, token=stranger).status == 404
    reader = cluster.cloud.token(roles=("reader",))
    assert cluster.cloud.post(path(server), json=body, token=reader).status == 403
    cluster.act(server.id, "suspend")
    cluster.settle()
    assert cluster.cloud.post(path(server), json=body, token=cluster.admin).status == 409
