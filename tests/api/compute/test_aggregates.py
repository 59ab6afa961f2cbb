"""Host aggregates: groups of nodes, and the availability zones that they make."""

from pathlib import Path
from typing import Any

import pytest

from tests.api.compute.nodes import SERVERS, ComputeCluster
from tests.api.compute.schemas import check
from tests.api.compute.test_server_life import headers

PATH = "/compute/v2.1/os-aggregates"
FORMS = {
    "POST": "create_aggregate",
    "PUT": "update_aggregate",
    "GET": "get_aggregate",
    "action": "aggregate_add_remove_host",
}


@pytest.fixture
def cluster(tmp_path: Path) -> ComputeCluster:
    return ComputeCluster(tmp_path, ("n1", "n2"))


class Asker:
    """An administrator at a microversion."""

    def __init__(self, cluster: ComputeCluster, version: tuple[int, int] = (2, 96)) -> None:
        self.cluster = cluster
        self.version = version
        self.more: dict[str, Any] = {"token": cluster.admin, "headers": headers(version)}

    def raw(self, method: str, path: str = "", body: Any = None) -> Any:
        return self.cluster.cloud.request(method, PATH + path, json=body, **self.more)

    def made(self, name: str, **fields: Any) -> Any:
        body = {"aggregate": {"name": name, **fields}}
        answer = self.raw("POST", body=body)
        return check(answer, "aggregates", "create_aggregate", self.version)["aggregate"]

    def one(self, method: str, path: str, body: Any = None) -> Any:
        name = FORMS["action" if path.endswith("/action") else method]
        answer = self.raw(method, path, body)
        return check(answer, "aggregates", name, self.version)["aggregate"]

    def act(self, made: Any, action: str, **value: Any) -> Any:
        return self.raw("POST", f"/{made['id']}/action", {action: value})


@pytest.mark.parametrize("version", [(2, 1), (2, 40), (2, 41), (2, 96)])
def test_an_aggregate_lives_and_goes(cluster: ComputeCluster, version: tuple[int, int]) -> None:
    asker = Asker(cluster, version)
    made = asker.made("racks", availability_zone="west")
    assert made["availability_zone"] == "west"
    assert ("uuid" in made) == (version >= (2, 41))
    path = f"/{made['id']}"
    assert asker.one("GET", path)["metadata"] == {"availability_zone": "west"}
    assert asker.one("PUT", path, {"aggregate": {"name": "rows"}})["name"] == "rows"
    kept = asker.one(
        "POST",
        f"{path}/action",
        {"set_metadata": {"metadata": {"ssd": "true", "availability_zone": None}}},
    )
    assert (kept["metadata"], kept["availability_zone"]) == ({"ssd": "true"}, None)
    assert asker.one("POST", f"{path}/action", {"add_host": {"host": "n1"}})["hosts"] == ["n1"]
    listed = check(asker.raw("GET"), "aggregates", "list_aggregates", version)["aggregates"]
    assert [row["name"] for row in listed] == ["rows"]
    assert asker.raw("DELETE", path).status == 400
    assert asker.one("POST", f"{path}/action", {"remove_host": {"host": "n1"}})["hosts"] == []
    assert asker.raw("DELETE", path).status == 200
    assert asker.raw("GET", path).status == 404
    assert asker.made("again")["id"] > made["id"]


def test_what_is_wrong_is_refused(cluster: ComputeCluster) -> None:
    asker = Asker(cluster)
    made, other = asker.made("a"), asker.made("b")
    for body in ({"name": "a"}, {"name": "b"}):
        assert asker.raw("POST", body={"aggregate": body}).status == 409
    path = f"/{made['id']}"
    assert asker.raw("PUT", path, {"aggregate": {"name": "b"}}).status == 409
    for wrong in ({}, {"name": ""}, {"availability_zone": "a:b"}, {"colour": "red"}):
        assert asker.raw("PUT", path, {"aggregate": wrong}).status == 400, wrong
    for wrong in ({"name": " a"}, {"name": "x" * 256}, {"availability_zone": "z"}, {}):
        assert asker.raw("POST", body={"aggregate": wrong}).status == 400, wrong
    assert [asker.raw("GET", f"/{name}").status for name in ("-1", "99", "x")] == [404, 404, 400]
    assert asker.act(made, "add_host", host="nowhere").status == 404
    assert asker.act(made, "remove_host", host="n1").status == 404
    assert asker.act(made, "add_host", host="n1").status == 200
    assert asker.act(made, "add_host", host="n1").status == 409
    assert asker.act(other, "add_host", host="n1").status == 200  # in several, but in one zone
    member = cluster.cloud.get(PATH, token=cluster.token)
    assert member.status == 403


def test_an_aggregate_is_a_zone(cluster: ComputeCluster) -> None:
    asker = Asker(cluster)
    west, east = asker.made("w", availability_zone="west"), asker.made("e", availability_zone="east")
    assert asker.act(west, "add_host", host="n2").status == 200
    assert asker.act(east, "add_host", host="n2").status == 409
    zones = cluster.cloud.get("/compute/v2.1/os-availability-zone", token=cluster.token).json
    assert {zone["zoneName"] for zone in zones["availabilityZoneInfo"]} == {"nova", "west"}
    server_id = cluster.create(availability_zone="west")
    assert cluster.row(server_id).node_id == "n2"
    shown = cluster.cloud.get(f"{SERVERS}/{server_id}", token=cluster.admin).json["server"]
    assert shown["OS-EXT-AZ:availability_zone"] == "west"
    there = cluster.create(availability_zone="nova")
    assert cluster.row(there).node_id == "n1"
    refused = asker.raw(
        "PUT", f"/{west['id']}", {"aggregate": {"availability_zone": "south"}}
    )
    assert refused.status == 400  # its servers would be moved to another zone
    assert asker.act(west, "set_metadata", metadata={"ssd": "yes"}).status == 200
    body = {"server": {"name": "x", "imageRef": "", "flavorRef": "1", "availability_zone": "east"}}
    assert cluster.cloud.post(SERVERS, json=body, token=cluster.admin).status == 400
