"""Networks that are made for a project which has none, through Neutron's call and through Nova's `auto`."""

from pathlib import Path
from typing import Any

import pytest

from node.plugins import compute, network
from node.plugins.compute.tables import Flavor
from node.plugins.network.tables import AutoTopology, Network, Router, Subnet
from node.sdk import insert
from node.testing import Cloud
from tests.api.compute.conftest import IMAGE, FakeImages, node_row

TOPOLOGY = "/network/v2.0/auto-allocated-topology"
AUTO = {"X-OpenStack-Nova-API-Version": "2.37"}


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


def make(cloud: Cloud, collection: str, **fields: Any) -> Any:
    admin = cloud.token(roles=("admin",), project_id="admins")
    kind = collection.removesuffix("s")
    answer = cloud.post(f"/network/v2.0/{collection}", json={kind: fields}, token=admin)
    assert answer.status == 201, answer.body
    return answer.json[kind]


def deploy(cloud: Cloud) -> None:
    public = make(cloud, "networks", name="public", is_default=True, **{"router:external": True})
    make(cloud, "subnets", network_id=public["id"], cidr="192.0.2.0/24", ip_version=4)
    for prefix, length in (("10.8.0.0/16", 26), ("fd00:8::/48", 64)):
        pool = {"prefixes": [prefix], "default_prefixlen": length, "shared": True, "is_default": True}
        make(cloud, "subnetpools", name=prefix, **pool)


def test_what_an_administrator_has_to_make_first(cloud: Cloud, token: str) -> None:
    answer = cloud.get(f"{TOPOLOGY}/null?fields=dry-run", token=token)
    assert (answer.status, answer.json["NeutronError"]["type"]) == (409, "AutoAllocationFailure")
    deploy(cloud)
    answer = cloud.get(f"{TOPOLOGY}/null?fields=dry-run", token=token)
    assert answer.json["auto_allocated_topology"]["id"] == "dry-run=pass"
    assert list(cloud.db.rows(AutoTopology)) == []


def test_it_is_made_once_and_taken_away(cloud: Cloud, token: str) -> None:
    deploy(cloud)
    made = cloud.get(f"{TOPOLOGY}/project-1", token=token)
    assert made.status == 200, made.body
    network_id = made.json["auto_allocated_topology"]["id"]
    assert cloud.get(f"{TOPOLOGY}/null", token=token).json["auto_allocated_topology"]["id"] == network_id
    assert {subnet.ip_version for subnet in cloud.db.rows(Subnet, network_id=network_id)} == {4, 6}
    (router,) = cloud.db.rows(Router, project_id="project-1")
    assert router.name == "auto_allocated_router"
    stranger = cloud.token(project_id="project-2")
    assert cloud.get(f"{TOPOLOGY}/project-1", token=stranger).status == 404
    assert cloud.delete(f"{TOPOLOGY}/project-1", token=stranger).status == 404
    assert cloud.delete(f"{TOPOLOGY}/null", token=token).status == 204
    assert list(cloud.db.rows(Network, project_id="project-1")) == []
    assert list(cloud.db.rows(Router, project_id="project-1")) == []
    assert cloud.delete(f"{TOPOLOGY}/null", token=token).status == 404


def test_what_was_half_made_is_taken_back(cloud: Cloud, token: str) -> None:
    deploy(cloud)
    admin = cloud.token(roles=("admin",), project_id="admins")
    quota = {"quota": {"router": 0}}
    assert cloud.put("/network/v2.0/quotas/project-1", json=quota, token=admin).status == 200
    assert cloud.get(f"{TOPOLOGY}/null", token=token).status == 409
    assert list(cloud.db.rows(Network, project_id="project-1")) == []
    assert list(cloud.db.rows(AutoTopology)) == []


def test_a_topology_whose_network_was_deleted_is_made_anew(cloud: Cloud, token: str) -> None:
    deploy(cloud)
    cloud.get(f"{TOPOLOGY}/null", token=token)
    (row,) = cloud.db.rows(AutoTopology)
    for subnet_id in row.subnet_ids:
        path = f"/network/v2.0/routers/{row.router_id}/remove_router_interface"
        cloud.put(path, json={"subnet_id": subnet_id}, token=token)
    assert cloud.delete(f"/network/v2.0/networks/{row.network_id}", token=token).status == 204
    again = cloud.get(f"{TOPOLOGY}/null", token=token)
    assert again.status == 200, again.body
    assert again.json["auto_allocated_topology"]["id"] != row.network_id


def test_servers_get_one(cloud: Cloud, token: str) -> None:
    server = {"name": "vm", "imageRef": IMAGE, "flavorRef": "1", "networks": "auto", "min_count": 3}
    url = "/compute/v2.1/servers"
    refused = cloud.post(url, json={"server": server}, token=token, headers=AUTO)
    assert refused.status == 400, refused.body
    deploy(cloud)
    made = cloud.post(url, json={"server": server}, token=token, headers=AUTO)
    assert made.status == 202, made.body
    (row,) = cloud.db.rows(AutoTopology)
    ports = cloud.get(f"/network/v2.0/ports?network_id={row.network_id}", token=token).json["ports"]
    assert len([port for port in ports if port["device_owner"].startswith("compute:")]) == 3


def test_a_network_that_is_offered_to_the_project_is_taken(cloud: Cloud, token: str) -> None:
    lent = make(cloud, "networks", name="lent")
    make(cloud, "subnets", network_id=lent["id"], cidr="10.7.0.0/24", ip_version=4)
    admin = cloud.token(roles=("admin",), project_id="admins")
    offer = {"object_type": "network", "object_id": lent["id"], "action": "access_as_shared"}
    body = {"rbac_policy": {**offer, "target_tenant": "project-1"}}
    assert cloud.post("/network/v2.0/rbac-policies", json=body, token=admin).status == 201
    server = {"name": "vm", "imageRef": IMAGE, "flavorRef": "1"}
    assert cloud.post("/compute/v2.1/servers", json={"server": server}, token=token).status == 202
    ports = cloud.get(f"/network/v2.0/ports?network_id={lent['id']}", token=admin).json["ports"]
    assert len([port for port in ports if port["device_owner"].startswith("compute:")]) == 1
