"""Servers are placed on nodes that have room, however many ask at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from node.plugins.compute.server_ops import node_counter
from node.plugins.compute.tables import Server
from node.sdk import insert
from node.testing import Cloud
from tests.api.compute.conftest import IMAGE, node_row

SERVERS = "/compute/v2.1/servers"


def placed(cloud: Cloud) -> dict[str, int]:
    rows = cloud.db.rows(Server)
    return {
        name: sum(row.node_id == name for row in rows) for name in {row.node_id for row in rows}
    }


def body(**fields: Any) -> dict[str, Any]:
    return {"server": {"name": "vm", "imageRef": IMAGE, "flavorRef": "1", **fields}}


def test_servers_are_spread(cloud: Cloud) -> None:
    cloud.commit(insert(node_row("node-2")))
    token = cloud.token()
    for _ in range(4):
        assert cloud.post(SERVERS, json=body(), token=token).status == 202
    assert placed(cloud) == {"node-1": 2, "node-2": 2}


def test_many_at_once_never_take_more_than_there_is(cloud: Cloud) -> None:
    cloud.commit(insert(node_row("small", memory_mib=5 * 64, vcpus=4)))
    cloud.commit(insert(node_row("node-1", state="down")))  # refused: it exists
    admin = cloud.token(roles=("admin",))
    cloud.put(
        "/compute/v2.1/os-services/disable",
        json={"host": "node-1", "binary": "nova-compute"},
        token=admin,
    )
    cloud.put(
        "/compute/v2.1/os-quota-sets/project-1",
        json={"quota_set": {"instances": -1, "cores": -1}},
        token=admin,
    )
    token = cloud.token()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: cloud.post(SERVERS, json=body(), token=token), range(12)))
    assert {answer.status for answer in answers} <= {202, 409}
    made = sum(answer.status == 202 for answer in answers)
    assert placed(cloud)["small"] == 5
    assert placed(cloud).get("", 0) == made - 5  # the rest: no valid host
    assert cloud.db.counter(node_counter("small", "memory_mib")) == 5 * 64


def test_quota_holds_when_many_ask_at_once(cloud: Cloud) -> None:
    admin, token = cloud.token(roles=("admin",)), cloud.token()
    cloud.put(
        "/compute/v2.1/os-quota-sets/project-1", json={"quota_set": {"instances": 3}}, token=admin
    )
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: cloud.post(SERVERS, json=body(), token=token), range(10)))
    assert cloud.db.count(Server) == sum(answer.status == 202 for answer in answers) <= 3
    assert {answer.status for answer in answers} <= {202, 403, 409}


def test_zone_and_host(cloud: Cloud) -> None:
    cloud.commit(insert(node_row("node-2", facts={"availability_zone": "east"})))
    token, admin = cloud.token(), cloud.token(roles=("admin",))
    cloud.post(SERVERS, json=body(availability_zone="east"), token=token)
    assert placed(cloud) == {"node-2": 1}
    assert (
        cloud.post(SERVERS, json=body(availability_zone="nova:node-1"), token=token).status == 403
    )
    assert (
        cloud.post(SERVERS, json=body(availability_zone="nova:node-1"), token=admin).status == 202
    )
    assert placed(cloud) == {"node-2": 1, "node-1": 1}
    version = {"OpenStack-API-Version": "compute 2.74"}
    wanted = body(host="node-2", networks="auto")
    assert cloud.post(SERVERS, json=wanted, token=admin, headers=version).status == 202
    assert placed(cloud) == {"node-2": 2, "node-1": 1}
    wanted = body(host="nowhere", networks="auto")
    assert cloud.post(SERVERS, json=wanted, token=admin, headers=version).status == 400


def test_hints(cloud: Cloud) -> None:
    cloud.commit(insert(node_row("node-2")))
    token = cloud.token()
    first = cloud.post(SERVERS, json=body(), token=token).json["server"]["id"]
    home = cloud.db.must(Server, first).node_id

    def beside(**hints: Any) -> str:
        wanted = {**body(), "os:scheduler_hints": hints}
        made = cloud.post(SERVERS, json=wanted, token=token).json["server"]["id"]
        return cloud.db.must(Server, made).node_id

    assert beside(same_host=first) == home
    assert beside(different_host=[first]) not in {home, ""}
    bad = {**body(), "os:scheduler_hints": {"group": "70a599e0-0000-49b7-b260-868f441e862b"}}
    assert cloud.post(SERVERS, json=bad, token=token).status == 400
