"""Deleted servers are remembered for a while, then forgotten."""

from node.plugins.compute.history_sync import HistorySync
from node.plugins.compute.server_ops import release_ops
from node.plugins.compute.tables import Server, ServerAction, ServerGone
from node.testing import Cloud
from tests.api.compute.test_server_life import create, finish

DAY_S = 86_400


def test_old_servers_are_forgotten(cloud: Cloud) -> None:
    token = cloud.token()
    gone, alive = create(cloud, token), create(cloud, token)
    finish(cloud, gone)
    row = cloud.db.must(Server, gone)
    cloud.commit(*release_ops(cloud.db, cloud.host.hook, row, cloud.clock.now_us()), frees=True)
    sync = HistorySync(cloud.control)
    cloud.clock.advance(29 * DAY_S)
    cloud.reconcile(sync)
    assert cloud.db.get(ServerGone, gone) is not None
    cloud.clock.advance(2 * DAY_S)
    cloud.reconcile(sync)
    assert cloud.db.get(ServerGone, gone) is None
    assert cloud.db.rows(ServerAction, server_id=gone) == []
    assert len(cloud.db.rows(ServerAction, server_id=alive)) == 1


def test_history_of_a_deleted_server(cloud: Cloud) -> None:
    token = cloud.token()
    server_id = create(cloud, token)
    finish(cloud, server_id)
    assert cloud.delete(f"/compute/v2.1/servers/{server_id}", token=token).status == 204
    row = cloud.db.must(Server, server_id)
    cloud.commit(*release_ops(cloud.db, cloud.host.hook, row, cloud.clock.now_us()), frees=True)
    path = f"/compute/v2.1/servers/{server_id}/os-instance-actions"
    assert cloud.get(path, token=token).status == 404
    late = cloud.get(path, token=token, headers={"OpenStack-API-Version": "compute 2.21"})
    actions = late.json["instanceActions"]
    assert {action["action"] for action in actions} == {"create", "delete"}
    assert all(action["message"] is None for action in actions)
