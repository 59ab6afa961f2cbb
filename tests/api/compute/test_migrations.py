"""What is told of resizes and evacuations, and of live migrations, which there are none of."""

from pathlib import Path
from typing import Any

import pytest

from node.sdk import NodeRow, patch
from tests.api.compute.nodes import SERVERS, ComputeCluster
from tests.api.compute.schemas import check
from tests.api.compute.test_server_life import headers

LIST = "/compute/v2.1/os-migrations"


@pytest.fixture
def cluster(tmp_path: Path) -> ComputeCluster:
    return ComputeCluster(tmp_path, ("n1", "n2"))


def listed(cluster: ComputeCluster, query: str = "", version: tuple[int, int] = (2, 80)) -> Any:
    answer = cluster.cloud.get(LIST + query, token=cluster.admin, headers=headers(version))
    return check(answer, "migrations", "list_migrations", version)["migrations"]


def test_a_resize_is_told_of_from_its_begin_to_its_end(cluster: ComputeCluster) -> None:
    server = cluster.running()
    cluster.act(server.id, "resize", {"flavorRef": "2"})
    (found,) = listed(cluster)
    assert (found["status"], found["migration_type"]) == ("migrating", "resize")
    assert (found["old_instance_type_id"], found["new_instance_type_id"]) == (1, 2)
    assert found["source_compute"] == found["dest_compute"]
    assert found["project_id"] == "project-1"
    cluster.settle()
    assert listed(cluster)[0]["status"] == "finished"
    cluster.act(server.id, "revertResize")
    assert listed(cluster)[0]["status"] == "reverting"
    cluster.settle()
    assert listed(cluster)[0]["status"] == "reverted"
    cluster.act(server.id, "resize", {"flavorRef": "2"})
    cluster.settle()
    cluster.act(server.id, "confirmResize")
    cluster.settle()
    assert [row["status"] for row in listed(cluster)] == ["confirmed", "reverted"]
    assert [row["id"] for row in listed(cluster)] == [2, 1]


def test_an_evacuation_names_both_nodes(cluster: ComputeCluster) -> None:
    server = cluster.running()
    other = next(name for name in cluster.nodes if name != server.node_id)
    cluster.cloud.commit(patch(NodeRow, server.node_id, state="down"))
    assert cluster.act(server.id, "evacuate", {}).status == 200
    (found,) = listed(cluster)
    assert (found["status"], found["migration_type"]) == ("accepted", "evacuation")
    assert (found["source_compute"], found["dest_compute"]) == (server.node_id, other)
    cluster.settle()
    assert listed(cluster)[0]["status"] == "done"


def test_the_list_is_filtered_and_paged(cluster: ComputeCluster) -> None:
    first, second = cluster.running(), cluster.running()
    for server in (first, second):
        cluster.act(server.id, "resize", {"flavorRef": "2"})
    cluster.settle()
    cluster.act(first.id, "confirmResize")
    cluster.settle()

    def ids(query: str) -> list[str]:
        return [row["instance_uuid"] for row in listed(cluster, query)]

    assert ids("") == [second.id, first.id]
    assert ids("?status=confirmed") == [first.id]
    assert ids(f"?instance_uuid={second.id}") == [second.id]
    assert ids(f"?host={first.node_id}&source_compute={first.node_id}&instance_uuid={first.id}")
    assert ids("?migration_type=evacuation") == []
    assert ids("?project_id=project-1&user_id=user-1") == [second.id, first.id]
    assert ids("?project_id=other") == []
    assert ids("?changes-since=2100-01-01T00:00:00Z") == []
    assert ids("?changes-before=2100-01-01T00:00:00Z") == [second.id, first.id]
    # Tempest's schema has no links, which Nova's reference has
    answer = cluster.cloud.get(
        f"{LIST}?limit=1", token=cluster.admin, headers=headers((2, 59))
    ).json
    (only,) = answer["migrations"]
    assert only["instance_uuid"] == second.id
    assert f"marker={only['uuid']}" in answer["migrations_links"][0]["href"]
    assert ids(f"?marker={only['uuid']}") == [first.id]


@pytest.mark.parametrize("version", [(2, 1), (2, 22), (2, 23), (2, 58), (2, 59), (2, 79), (2, 96)])
def test_each_version_has_its_form(cluster: ComputeCluster, version: tuple[int, int]) -> None:
    server = cluster.running()
    cluster.act(server.id, "resize", {"flavorRef": "2"})
    (found,) = listed(cluster, version=version)
    assert ("migration_type" in found) == (version >= (2, 23))
    assert ("uuid" in found) == (version >= (2, 59))
    assert ("user_id" in found) == (version >= (2, 80))
    more = {"token": cluster.admin, "headers": headers(version)}
    assert cluster.cloud.get(f"{LIST}?bad=1", **more).status == (
        400 if version >= (2, 59) else 200
    )
    wrong = cluster.cloud.get(f"{LIST}?changes-since=soon", **more)
    assert wrong.status == (400 if version >= (2, 59) else 200)
    assert cluster.cloud.get(LIST, token=cluster.token, headers=headers(version)).status == 403
    path = f"{SERVERS}/{server.id}/migrations"
    mine = cluster.cloud.get(path, **more)
    assert mine.status == (200 if version >= (2, 23) else 404)
    if version >= (2, 23):
        assert mine.json == {"migrations": []}
        assert cluster.cloud.get(f"{path}/1", **more).status == 404
        assert cluster.cloud.get(f"{SERVERS}/none/migrations", **more).status == 404
    if version >= (2, 24):
        gone = cluster.cloud.delete(f"{path}/1", **more)
        assert (gone.status, "In-progress live migration 1" in gone.body.decode()) == (404, True)
        body = {"force_complete": None}
        assert cluster.cloud.post(f"{path}/1/action", json=body, **more).status == 404
