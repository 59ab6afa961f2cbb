"""What Nova's API passes on to Neutron, with the real network plugin behind it."""

from pathlib import Path
from typing import Any

import pytest

from node.plugins import compute, network
from node.plugins.compute.tables import Flavor
from node.sdk import insert
from node.testing import Cloud
from tests.api.compute.conftest import FakeImages, node_row
from tests.api.compute.schemas import check
from tests.api.compute.test_server_life import act, create, finish, headers, shown

GROUPS = "/compute/v2.1/os-security-groups"
RULES = "/compute/v2.1/os-security-group-rules"
FLOATING = "/compute/v2.1/os-floating-ips"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path, [compute, network, FakeImages()])
    cloud.commit(
        insert(node_row()),
        insert(Flavor(id="1", name="m1.tiny", memory_mib=64, vcpus=1, disk_gib=1, created_at=1)),
    )
    return cloud


@pytest.fixture
def token(cloud: Cloud) -> str:
    return cloud.token()


def neutron(cloud: Cloud, token: str, collection: str, **fields: Any) -> Any:
    kind = collection.removesuffix("s")
    answer = cloud.post(f"/network/v2.0/{collection}", json={kind: fields}, token=token)
    assert answer.status == 201, answer.body
    return answer.json[kind]


@pytest.fixture
def private(cloud: Cloud, token: str) -> Any:
    """Return a network behind a router that leads outside."""
    admin = cloud.token(roles=("admin",), project_id="admins")
    public = neutron(cloud, admin, "networks", name="public", **{"router:external": True})
    neutron(cloud, admin, "subnets", network_id=public["id"], cidr="192.0.2.0/24", ip_version=4)
    private = neutron(cloud, token, "networks", name="private")
    subnet = neutron(
        cloud, token, "subnets", network_id=private["id"], cidr="10.1.0.0/24", ip_version=4
    )
    router = neutron(cloud, token, "routers", external_gateway_info={"network_id": public["id"]})
    path = f"/network/v2.0/routers/{router['id']}/add_router_interface"
    assert cloud.put(path, json={"subnet_id": subnet["id"]}, token=token).status == 200
    return private


def test_security_groups(cloud: Cloud, token: str) -> None:
    body = {"security_group": {"name": "web", "description": "servers"}}
    made = check(
        cloud.post(GROUPS, json=body, token=token), "security_groups", "get_security_group"
    )
    group = made["security_group"]
    assert group["rules"] == []
    rule = {"parent_group_id": group["id"], "ip_protocol": "tcp", "from_port": 22, "to_port": 22}
    answer = cloud.post(
        RULES, json={"security_group_rule": {**rule, "cidr": "10.0.0.0/8"}}, token=token
    )
    added = check(answer, "security_groups", "create_security_group_rule")["security_group_rule"]
    assert (added["from_port"], added["ip_range"]) == (22, {"cidr": "10.0.0.0/8"})
    again = cloud.post(
        RULES, json={"security_group_rule": {**rule, "cidr": "10.0.0.0/8"}}, token=token
    )
    assert again.status == 400
    for change in (
        {"from_port": 0},
        {"to_port": 70000},
        {"from_port": 23, "to_port": 22},
        {"ip_protocol": "apples"},
        {"cidr": "x"},
        {"parent_group_id": "x"},
    ):
        assert (
            cloud.post(RULES, json={"security_group_rule": {**rule, **change}}, token=token).status
            == 400
        )
    listed = check(cloud.get(GROUPS, token=token), "security_groups", "list_security_groups")
    assert [g["name"] for g in listed["security_groups"]] == ["default", "web"]
    path = f"{GROUPS}/{group['id']}"
    renamed = cloud.put(
        path, json={"security_group": {"name": "www", "description": "d"}}, token=token
    )
    assert (
        check(renamed, "security_groups", "update_security_group")["security_group"]["name"]
        == "www"
    )
    assert cloud.get(path, token=cloud.token(project_id="other")).status == 404
    check(
        cloud.delete(f"{RULES}/{added['id']}", token=token),
        "security_groups",
        "delete_security_group_rule",
    )
    check(cloud.delete(path, token=token), "security_groups", "delete_security_group")
    assert cloud.get(path, token=token).status == 404
    assert cloud.get(f"{GROUPS}/x", token=token).status == 400
    assert cloud.get(GROUPS, token=token, headers=headers((2, 36))).status == 404


def test_groups_of_a_server(cloud: Cloud, token: str, private: Any) -> None:
    server_id = create(cloud, token, networks=[{"uuid": private["id"]}])
    finish(cloud, server_id)
    assert shown(cloud, token, server_id)["security_groups"] == [{"name": "default"}]
    assert act(cloud, token, server_id, addSecurityGroup={"name": "web"}).status == 404
    body = {"security_group": {"name": "web", "description": "servers"}}
    cloud.post(GROUPS, json=body, token=token)
    assert act(cloud, token, server_id, addSecurityGroup={"name": "web"}).status == 202
    path = f"/compute/v2.1/servers/{server_id}/os-security-groups"
    found = check(cloud.get(path, token=token), "security_groups", "list_security_groups")
    assert {g["name"] for g in found["security_groups"]} == {"default", "web"}
    assert act(cloud, token, server_id, removeSecurityGroup={"name": "web"}).status == 202
    assert shown(cloud, token, server_id)["security_groups"] == [{"name": "default"}]
    assert act(cloud, token, server_id, removeSecurityGroup={"name": "web"}).status == 404


def test_floating_ips(cloud: Cloud, token: str, private: Any) -> None:
    server_id = create(cloud, token, networks=[{"uuid": private["id"]}])
    finish(cloud, server_id)
    pools = cloud.get("/compute/v2.1/os-floating-ip-pools", token=token)
    assert pools.json == {"floating_ip_pools": [{"name": "public"}]}
    assert cloud.post(FLOATING, json={"pool": "nowhere"}, token=token).status == 404
    made = cloud.post(FLOATING, json={"pool": "public"}, token=token)
    floating = check(made, "floating_ips", "create_get_floating_ip")["floating_ip"]
    assert act(cloud, token, server_id, addFloatingIp={"address": floating["ip"]}).status == 202
    entries = shown(cloud, token, server_id)["addresses"]["private"]
    assert {(e["OS-EXT-IPS:type"], e["addr"]) for e in entries} >= {("floating", floating["ip"])}
    listed = check(cloud.get(FLOATING, token=token), "floating_ips", "list_floating_ips")[
        "floating_ips"
    ]
    assert listed[0]["instance_id"] == server_id
    assert act(cloud, token, server_id, removeFloatingIp={"address": floating["ip"]}).status == 202
    assert act(cloud, token, server_id, removeFloatingIp={"address": floating["ip"]}).status == 409
    assert act(cloud, token, server_id, addFloatingIp={"address": "192.0.2.250"}).status == 404
    path = f"{FLOATING}/{floating['id']}"
    check(cloud.delete(path, token=token), "floating_ips", "add_remove_floating_ip")
    assert cloud.get(path, token=token).status == 404


def test_fixed_ips_and_networks(cloud: Cloud, token: str, private: Any) -> None:
    server_id = create(cloud, token, networks=[{"uuid": private["id"]}])
    finish(cloud, server_id)

    def addresses() -> list[str]:
        return [entry["addr"] for entry in shown(cloud, token, server_id)["addresses"]["private"]]

    before = addresses()
    assert act(cloud, token, server_id, addFixedIp={"networkId": private["id"]}).status == 202
    (added,) = set(addresses()) - set(before)
    assert act(cloud, token, server_id, removeFixedIp={"address": added}).status == 202
    assert addresses() == before
    assert act(cloud, token, server_id, removeFixedIp={"address": added}).status == 400
    listed = cloud.get("/compute/v2.1/os-networks", token=token).json["networks"]
    assert {net["label"] for net in listed} == {"private", "public"}
    one = cloud.get(f"/compute/v2.1/os-tenant-networks/{private['id']}", token=token).json[
        "network"
    ]
    assert one == {"id": private["id"], "label": "private", "cidr": "None"}


def test_ports_of_a_server_go_with_it(cloud: Cloud, token: str, private: Any) -> None:
    from node.plugins.compute.server_ops import release_ops
    from node.plugins.compute.tables import Server

    server_id = create(cloud, token, networks=[{"uuid": private["id"]}])
    path = f"/network/v2.0/ports?device_id={server_id}"
    assert len(cloud.get(path, token=token).json["ports"]) == 1
    row = cloud.db.must(Server, server_id)
    cloud.commit(*release_ops(cloud.db, cloud.host.hook, row, cloud.clock.now_us()), frees=True)
    assert cloud.get(path, token=token).json["ports"] == []
