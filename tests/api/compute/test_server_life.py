"""A server from create to delete, as clients see it; answers are held against Tempest's schemas."""

from typing import Any

import pytest

from node.plugins.compute.server_ops import job_done_ops, node_counter, quota_counter, release_ops
from node.plugins.compute.tables import Server
from node.sdk import insert
from node.testing import Cloud
from tests.api.compute.conftest import IMAGE, NETWORK, node_row
from tests.api.compute.schemas import check

VERSIONS = [(2, minor) for minor in range(1, 97)]


def headers(version: tuple[int, int]) -> dict[str, str]:
    return {"OpenStack-API-Version": f"compute {version[0]}.{version[1]}"}


def create(cloud: Cloud, token: str, **fields: Any) -> str:
    body = {"server": {"name": "vm", "imageRef": IMAGE, "flavorRef": "1", **fields}}
    answer = cloud.post("/compute/v2.1/servers", json=body, token=token)
    return str(check(answer, "servers", "create_server_with_admin_pass")["server"]["id"])


def finish(cloud: Cloud, server_id: str, have: str = "active", power: int = 1, **more: Any) -> None:
    """Do what the node does at the end of a job."""
    server = cloud.db.must(Server, server_id)
    cloud.commit(
        *job_done_ops(cloud.db, server, cloud.clock.now_us(), have=have, power=power, **more)
    )


def act(cloud: Cloud, token: str, server_id: str, **action: Any) -> Any:
    return cloud.post(f"/compute/v2.1/servers/{server_id}/action", json=action, token=token)


def shown(cloud: Cloud, token: str, server_id: str) -> Any:
    answer = cloud.get(f"/compute/v2.1/servers/{server_id}", token=token)
    return check(answer, "servers", "get_server")["server"]


def test_life(cloud: Cloud) -> None:
    token = cloud.token()
    server_id = create(cloud, token, metadata={"a": "b"}, networks=[{"uuid": NETWORK}])
    server = shown(cloud, token, server_id)
    assert (server["status"], server["OS-EXT-STS:task_state"]) == ("BUILD", "spawning")
    assert server["addresses"]["private"][0]["addr"] == "10.0.0.2"
    assert cloud.db.counter(node_counter("node-1", "memory_mib")) == 64
    assert cloud.db.counter(quota_counter("project-1", "cores")) == 1
    assert act(cloud, token, server_id, **{"os-stop": None}).status == 409
    finish(cloud, server_id)
    server = shown(cloud, token, server_id)
    assert (server["status"], server["OS-EXT-STS:power_state"]) == ("ACTIVE", 1)
    assert server["OS-SRV-USG:launched_at"]

    assert act(cloud, token, server_id, reboot={"type": "HARD"}).status == 202
    assert shown(cloud, token, server_id)["status"] == "HARD_REBOOT"
    finish(cloud, server_id)
    assert act(cloud, token, server_id, **{"os-stop": None}).status == 202
    assert shown(cloud, token, server_id)["OS-EXT-STS:task_state"] == "powering-off"
    finish(cloud, server_id, "stopped", 4)
    assert shown(cloud, token, server_id)["status"] == "SHUTOFF"
    assert act(cloud, token, server_id, **{"os-stop": None}).status == 409
    assert act(cloud, token, server_id, **{"os-start": None}).status == 202
    finish(cloud, server_id)

    path = f"/compute/v2.1/servers/{server_id}"
    actions = check(
        cloud.get(f"{path}/os-instance-actions", token=token), "servers", "list_instance_actions"
    )
    assert [a["action"] for a in actions["instanceActions"]] == [
        "start",
        "stop",
        "reboot",
        "create",
    ]
    check(cloud.delete(path, token=token), "servers", "delete_server")
    assert shown(cloud, token, server_id)["OS-EXT-STS:task_state"] == "deleting"
    row = cloud.db.must(Server, server_id)
    cloud.commit(*release_ops(cloud.db, cloud.host.hook, row, cloud.clock.now_us()), frees=True)
    assert cloud.get(path, token=token).status == 404
    for counter in (node_counter("node-1", "memory_mib"), quota_counter("project-1", "instances")):
        assert cloud.db.counter(counter) == 0
    gone = cloud.get("/compute/v2.1/servers/detail?changes-since=2000-01-01T00:00:00Z", token=token)
    assert [s["status"] for s in check(gone, "servers", "list_servers_detail")["servers"]] == [
        "DELETED"
    ]
    assert cloud.get("/compute/v2.1/servers", token=token).json == {"servers": []}


@pytest.mark.parametrize("roles", [("member",), ("admin",)])
def test_views_at_each_microversion(cloud: Cloud, roles: tuple[str, ...]) -> None:
    from node.plugins.compute.version_api import MICROVERSIONS

    token = cloud.token(roles=roles)
    server_id = create(cloud, token)
    finish(cloud, server_id)
    path = f"/compute/v2.1/servers/{server_id}"
    highest = int(MICROVERSIONS.maximum.partition(".")[2])
    for version in [v for v in VERSIONS if v[1] <= highest]:
        more = {"token": token, "headers": headers(version)}
        check(cloud.get(path, **more), "servers", "get_server", version)
        check(
            cloud.get("/compute/v2.1/servers/detail", **more),
            "servers",
            "list_servers_detail",
            version,
        )
        changed = cloud.put(path, json={"server": {"name": "vm2"}}, **more)
        check(changed, "servers", "update_server", version)


def test_no_valid_host(cloud: Cloud) -> None:
    token = cloud.token()
    cloud.commit(insert(node_row("node-0", state="down")))
    for _ in range(2):
        answer = cloud.post(
            "/compute/v2.1/servers",
            json={"server": {"name": "big", "imageRef": IMAGE, "flavorRef": "big"}},
            token=token,
        )
        assert answer.status == 400
    cloud.post(
        "/compute/v2.1/flavors",
        json={"flavor": {"id": "big", "name": "big", "ram": 8192, "vcpus": 1, "disk": 1}},
        token=cloud.token(roles=("admin",)),
    )
    server_id = create(cloud, token, flavorRef="big")
    server = shown(cloud, token, server_id)
    assert server["status"] == "ERROR"
    assert server["fault"]["message"].startswith("No valid host was found.")
    assert cloud.delete(f"/compute/v2.1/servers/{server_id}", token=token).status == 204
    assert cloud.get(f"/compute/v2.1/servers/{server_id}", token=token).status == 404
    assert cloud.db.counter(quota_counter("project-1", "ram")) == 0
