"""Servers move between nodes with their disks: on request, and when their node leaves the cluster."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from node.errors import NotFound
from node.plugins.compute import names
from node.plugins.compute.drivers.hypervisor import (
    DomainState,
    HypervisorGone,
    HypervisorRefused,
)
from node.plugins.compute.server_ops import node_counter
from node.plugins.compute.tables import Migration, Server, ServerAction
from node.sdk import NodeRow, patch
from tests.api.compute.conftest import ServerPort
from tests.api.compute.nodes import SERVERS, ComputeCluster, ComputeNode

MARK = b"written by the guest"


@pytest.fixture
def cluster(tmp_path: Path) -> ComputeCluster:
    return ComputeCluster(tmp_path)


def disk_of(cluster: ComputeCluster, node_id: str, server_id: str) -> Path:
    return names.disk_path(cluster.nodes[node_id].member.control.config.state_dir, server_id)


def write(cluster: ComputeCluster, server: Server) -> None:
    """Have the guest's disk hold something that its image does not."""
    with disk_of(cluster, server.node_id, server.id).open("ab") as file:
        file.write(MARK)


def holds(cluster: ComputeCluster, node_id: str, server_id: str) -> bool:
    path = disk_of(cluster, node_id, server_id)
    return path.exists() and path.read_bytes().endswith(MARK)


def claims(cluster: ComputeCluster) -> dict[str, int]:
    return {n: cluster.cloud.db.counter(node_counter(n, "memory_mib")) for n in cluster.nodes}


def until(cluster: ComputeCluster, holds: Callable[[], bool]) -> None:
    """Settle until something holds: guests that run are moved by threads."""
    end_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end_s, cluster.cloud.db.rows(Server)
        cluster.settle()
        time.sleep(0.01)


def moved(cluster: ComputeCluster, value: object = None, version: str = "2.95") -> tuple[Server, str]:
    """Return a server that was migrated and waits to be confirmed, and where it was."""
    before = cluster.running()
    write(cluster, before)
    assert cluster.act(before.id, "migrate", value, version).status == 202
    assert cluster.cloud.get(f"{SERVERS}/{before.id}", token=cluster.admin).json["server"]["status"] == "RESIZE"
    cluster.settle()
    return cluster.row(before.id), before.node_id


def test_a_server_moves_with_its_disk_and_waits_to_be_confirmed(cluster: ComputeCluster) -> None:
    server, source = moved(cluster)
    assert (server.have, server.power, server.old_node_id) == ("resized", 1, source)
    assert server.node_id != source
    assert cluster.where(server.id) == {server.node_id}
    assert holds(cluster, server.node_id, server.id)
    assert holds(cluster, source, server.id)
    assert {port.node_id for port in cluster.cloud.db.rows(ServerPort)} == {server.node_id}
    assert claims(cluster)[source] == claims(cluster)[server.node_id] == 64
    (migration,) = cluster.cloud.db.rows(Migration)
    assert (migration.status, migration.source_node, migration.dest_node) == (
        "finished",
        source,
        server.node_id,
    )
    show = cluster.cloud.get(f"{SERVERS}/{server.id}", token=cluster.admin).json["server"]
    assert (show["status"], show["OS-EXT-SRV-ATTR:host"]) == ("VERIFY_RESIZE", server.node_id)


def test_confirmed_it_stays_and_the_old_node_erases_it(cluster: ComputeCluster) -> None:
    server, source = moved(cluster)
    assert cluster.act(server.id, "confirmResize").status == 204
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.have, row.node_id, row.old_node_id, row.old_flavor) == (
        "active",
        server.node_id,
        "",
        None,
    )
    assert not disk_of(cluster, source, server.id).parent.exists()
    assert not list(disk_of(cluster, source, "x").parents[1].glob(".aside-*"))
    assert claims(cluster)[source] == 0
    assert [one.status for one in cluster.cloud.db.rows(Migration)] == ["confirmed"]


def test_reverted_it_goes_back_to_the_disk_from_before(cluster: ComputeCluster) -> None:
    server, source = moved(cluster)
    with disk_of(cluster, server.node_id, server.id).open("ab") as file:
        file.write(b"lost by the revert")
    assert cluster.act(server.id, "revertResize").status == 202
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.have, row.node_id, row.old_node_id) == ("active", source, "")
    assert cluster.where(server.id) == {source}
    assert holds(cluster, source, server.id)
    assert not disk_of(cluster, server.node_id, server.id).parent.exists()
    assert claims(cluster)[server.node_id] == 0
    assert claims(cluster)[source] == 64
    assert {port.node_id for port in cluster.cloud.db.rows(ServerPort)} == {source}
    assert [one.status for one in cluster.cloud.db.rows(Migration)] == ["reverted"]


def test_a_server_that_is_off_moves_and_stays_off(cluster: ComputeCluster) -> None:
    server = cluster.running()
    cluster.act(server.id, "os-stop")
    cluster.settle()
    target = next(name for name in cluster.nodes if name != server.node_id)
    assert cluster.act(server.id, "migrate", {"host": target}).status == 202
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.have, row.power, row.node_id) == ("resized", 4, target)
    assert cluster.act(server.id, "confirmResize").status == 204
    cluster.settle()
    assert cluster.row(server.id).have == "stopped"
    assert cluster.where(server.id) == set()


def test_a_fetch_that_is_cut_off_goes_on(cluster: ComputeCluster) -> None:
    server = cluster.running()
    write(cluster, server)
    cluster.network.cut_after[server.node_id] = 4096
    cluster.act(server.id, "migrate")
    cluster.settle()
    cluster.settle()
    row = cluster.row(server.id)
    assert row.have == "resized"
    assert holds(cluster, row.node_id, server.id)
    assert not list(disk_of(cluster, row.node_id, server.id).parent.glob("*.part*"))


def test_disks_that_cannot_be_had_leave_the_server_where_it_was(cluster: ComputeCluster) -> None:
    server = cluster.running()
    cluster.act(server.id, "migrate")
    (migration,) = cluster.cloud.db.rows(Migration)
    in_the_way = disk_of(cluster, migration.dest_node, server.id).with_name("disk.part-2")
    in_the_way.mkdir(parents=True)
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.have, row.node_id, row.old_node_id) == ("active", server.node_id, "")
    action = cluster.cloud.db.must(ServerAction, f"{server.id}/{row.job}")
    assert action.message == "Error"
    assert [one.status for one in cluster.cloud.db.rows(Migration)] == ["error"]
    assert sum(claims(cluster).values()) == 64


def test_a_server_that_is_deleted_on_trial_leaves_nothing(cluster: ComputeCluster) -> None:
    server, source = moved(cluster)
    assert cluster.cloud.delete(f"{SERVERS}/{server.id}", token=cluster.admin).status == 204
    cluster.settle()
    assert sum(claims(cluster).values()) == 0
    for node_id in (source, server.node_id):
        assert not disk_of(cluster, node_id, server.id).parent.exists()


def test_disks_are_for_the_node_alone_that_a_server_moves_to(cluster: ComputeCluster) -> None:
    server, source = moved(cluster)
    path = f"/compute/v2.1/peer/servers/{server.id}/files"
    third = next(name for name in cluster.nodes if name not in (source, server.node_id))
    with pytest.raises(NotFound), cluster.nodes[third].member.control.data_port.get(source, path):
        pass
    cluster.act(server.id, "confirmResize")
    port = cluster.nodes[server.node_id].member.control.data_port
    with pytest.raises(NotFound), port.get(source, path):
        pass


def test_what_cannot_move_is_refused(cluster: ComputeCluster) -> None:
    server = cluster.running()
    for value, version, status in (
        ({"host": server.node_id}, "2.95", 400),
        ({"host": "nowhere"}, "2.95", 400),
        ({"host": "n1"}, "2.55", 400),
        ({"what": 1}, "2.95", 400),
    ):
        assert cluster.act(server.id, "migrate", value, version).status == status, value
    member = cluster.cloud.post(
        f"{SERVERS}/{server.id}/action", json={"migrate": None}, token=cluster.token
    )
    assert member.status == 403
    cluster.act(server.id, "pause")
    cluster.settle()
    assert cluster.act(server.id, "migrate").status == 409
    cluster.act(server.id, "unpause")
    cluster.settle()
    for node_id in cluster.nodes:
        if node_id != server.node_id:
            cluster.set_state(node_id, "down")
    assert cluster.act(server.id, "migrate").status == 400
    assert claims(cluster)[server.node_id] == 64


def test_a_kill_at_any_look_changes_nothing(cluster: ComputeCluster) -> None:
    server = cluster.running()
    write(cluster, server)
    cluster.act(server.id, "migrate")
    for _ in range(12):  # every node forgets all that it does not keep on its disk, again and again
        for node in cluster.nodes.values():
            node.sync._jobs._timers.clear()
            cluster.cloud.reconcile(node.sync)
        cluster.cloud.clock.advance(1)
    row = cluster.row(server.id)
    assert row.have == "resized"
    assert holds(cluster, row.node_id, server.id)


def test_a_node_that_leaves_gives_its_servers_to_others(cluster: ComputeCluster) -> None:
    servers = [cluster.running() for _ in range(3)]
    for server in servers:
        write(cluster, server)
    stopped = servers[0]
    cluster.act(stopped.id, "os-stop")
    cluster.settle()
    gone = stopped.node_id
    cluster.cloud.commit(patch(NodeRow, gone, want="absent", maintenance=True))
    until(cluster, lambda: cluster.cloud.db.count(Server, node_id=gone) == 0)
    cluster.settle()
    for server in servers:
        row = cluster.row(server.id)
        assert row.node_id != gone
        assert (row.old_node_id, row.old_flavor) == ("", None), row
        assert row.have == ("stopped" if server.id == stopped.id else "active")
        assert holds(cluster, row.node_id, server.id)
    assert cluster.cloud.db.count(Server, node_id=gone) == 0
    assert claims(cluster)[gone] == 0
    assert not disk_of(cluster, gone, stopped.id).parent.exists()
    assert {one.status for one in cluster.cloud.db.rows(Migration)} == {"completed"}


def test_what_cannot_be_moved_stays_and_nothing_is_lost(cluster: ComputeCluster) -> None:
    server = cluster.running()
    for node_id in cluster.nodes:
        if node_id != server.node_id:
            cluster.set_state(node_id, "down")
    cluster.cloud.commit(patch(NodeRow, server.node_id, want="absent", maintenance=True))
    cluster.settle()
    assert cluster.row(server.id).node_id == server.node_id
    assert cluster.where(server.id) == {server.node_id}
    for node_id in cluster.nodes:
        cluster.set_state(node_id, "up")
    cluster.cloud.clock.advance(20)
    until(cluster, lambda: cluster.row(server.id).node_id != server.node_id)
    assert ("migrate", server.id) in cluster.nodes[server.node_id].hypervisor.calls
    assert ("press_power", server.id) not in cluster.nodes[server.node_id].hypervisor.calls


def test_a_disk_of_a_later_job_is_set_aside_and_not_erased(cluster: ComputeCluster) -> None:
    server, source = moved(cluster)
    cluster.act(server.id, "confirmResize")
    cluster.settle()
    cluster.set_state(server.node_id, "down")
    assert cluster.act(server.id, "evacuate", {"host": source}).status == 200
    cluster.settle()
    assert cluster.row(server.id).node_id == source
    cluster.set_state(server.node_id, "up")
    cluster.settle()
    cluster.set_state(source, "down")
    cluster.act(server.id, "evacuate", {})
    cluster.settle()
    cluster.set_state(source, "up")
    cluster.settle()
    aside = list(disk_of(cluster, source, "x").parents[1].glob(f".aside-{server.id}.*"))
    assert len(aside) == 1  # it ran there after it had moved away once


# -- guests that run on


LIVE = {"host": None, "block_migration": "auto"}


def test_a_guest_moves_while_it_runs(cluster: ComputeCluster) -> None:
    server = cluster.running()
    write(cluster, server)
    source = cluster.nodes[server.node_id]
    assert cluster.act(server.id, "os-migrateLive", LIVE).status == 202
    show = cluster.cloud.get(f"{SERVERS}/{server.id}", token=cluster.admin).json["server"]
    assert show["status"] == "MIGRATING"
    until(cluster, lambda: cluster.row(server.id).node_id != server.node_id)
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.have, row.power, row.job_done, row.old_node_id) == ("active", 1, row.job, "")
    assert cluster.where(server.id) == {row.node_id}
    assert holds(cluster, row.node_id, server.id)
    assert source.hypervisor.server_ids() == []
    assert not disk_of(cluster, source.id, server.id).parent.exists()
    assert ("press_power", server.id) not in source.hypervisor.calls
    assert claims(cluster) == {**dict.fromkeys(cluster.nodes, 0), row.node_id: 64}
    assert {port.node_id for port in cluster.cloud.db.rows(ServerPort)} == {row.node_id}
    assert len(cluster.nodes[row.node_id].taps) == 1
    assert [one.status for one in cluster.cloud.db.rows(Migration)] == ["completed"]
    action = cluster.cloud.db.must(ServerAction, f"{server.id}/{row.job}")
    assert (action.action, action.events[0].result) == ("live-migration", "Success")


def test_a_paused_guest_stays_paused(cluster: ComputeCluster) -> None:
    server = cluster.running()
    cluster.act(server.id, "pause")
    cluster.settle()
    cluster.act(server.id, "os-migrateLive", LIVE)
    until(cluster, lambda: cluster.row(server.id).node_id != server.node_id)
    row = cluster.row(server.id)
    assert (row.have, row.power) == ("paused", 3)
    assert cluster.nodes[row.node_id].hypervisor.states[server.id].power == "paused"


def test_a_guest_that_cannot_move_goes_on_where_it_is(cluster: ComputeCluster) -> None:
    server = cluster.running()
    node = cluster.nodes[server.node_id]
    node.hypervisor.fail_next("migrate", HypervisorRefused("the CPUs differ"))
    cluster.act(server.id, "os-migrateLive", LIVE)
    until(cluster, lambda: cluster.row(server.id).job_done == 2)
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.node_id, row.have, row.fault) == (node.id, "active", "the CPUs differ")
    assert cluster.where(server.id) == {node.id}
    assert claims(cluster) == {**dict.fromkeys(cluster.nodes, 0), node.id: 64}
    (migration,) = cluster.cloud.db.rows(Migration)
    assert migration.status == "error"
    assert not disk_of(cluster, migration.dest_node, server.id).parent.exists()
    cluster.nodes[migration.dest_node].coming.reconcile(migration.id)  # as the notice has it do
    assert cluster.nodes[migration.dest_node].taps == set()
    assert cluster.cloud.db.must(ServerAction, f"{server.id}/2").message == "Error"


def on_its_way(cluster: ComputeCluster) -> tuple[Server, ComputeNode]:
    """Return a server whose destination is ready, and its node, which forgot all but rows and disks."""
    server = cluster.running()
    write(cluster, server)
    cluster.act(server.id, "os-migrateLive", LIVE)
    for node in cluster.nodes.values():
        cluster.cloud.reconcile(node.coming)
    (migration,) = cluster.cloud.db.rows(Migration)
    assert migration.status == "preparing"
    cluster.cloud.commit(patch(Migration, migration.id, status="running"))
    return server, cluster.nodes[server.node_id]


def test_a_source_that_died_finds_its_guest_on_the_other_node(cluster: ComputeCluster) -> None:
    server, node = on_its_way(cluster)
    (migration,) = cluster.cloud.db.rows(Migration)
    there = cluster.nodes[migration.dest_node]
    plan = node.hypervisor.plans[server.id]
    there.hypervisor.arrive(plan, DomainState(power="running"))
    node.hypervisor.power_off(server.id, "migrated")
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.node_id, row.have) == (there.id, "active")


def test_a_guest_that_is_nowhere_is_off_and_its_disk_is_kept(cluster: ComputeCluster) -> None:
    server, node = on_its_way(cluster)
    node.hypervisor.power_off(server.id, "crashed")  # the machine went down with it
    cluster.settle()
    row = cluster.row(server.id)
    assert (row.node_id, row.have) == (node.id, "stopped")
    assert holds(cluster, node.id, server.id)
    (migration,) = cluster.cloud.db.rows(Migration)
    assert not disk_of(cluster, migration.dest_node, server.id).parent.exists()
    cluster.act(server.id, "os-start")
    cluster.settle()
    assert cluster.where(server.id) == {node.id}


def test_as_long_as_the_destination_does_not_say_nothing_is_done(
    cluster: ComputeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, node = on_its_way(cluster)
    node.hypervisor.power_off(server.id, "migrated")

    def silent(*_: object) -> bool:
        raise HypervisorGone("the other node does not answer")

    monkeypatch.setattr(node.hypervisor, "has_arrived", silent)
    with pytest.raises(HypervisorGone):
        cluster.cloud.reconcile(node.sync)
    row = cluster.row(server.id)
    assert (row.node_id, row.job_done) == (node.id, 1)


def test_a_server_that_is_deleted_on_its_way_leaves_nothing(cluster: ComputeCluster) -> None:
    server, node = on_its_way(cluster)
    (migration,) = cluster.cloud.db.rows(Migration)
    assert cluster.cloud.delete(f"{SERVERS}/{server.id}", token=cluster.admin).status == 204
    cluster.settle()
    assert sum(claims(cluster).values()) == 0
    for node_id in (node.id, migration.dest_node):
        assert not disk_of(cluster, node_id, server.id).parent.exists()


def test_a_cold_move_that_is_deleted_before_it_began_leaves_nothing(cluster: ComputeCluster) -> None:
    server = cluster.running()
    cluster.act(server.id, "migrate")
    assert sum(claims(cluster).values()) == 128
    cluster.cloud.delete(f"{SERVERS}/{server.id}", token=cluster.admin)
    cluster.settle()
    assert sum(claims(cluster).values()) == 0


def test_live_migration_speaks_the_microversions(cluster: ComputeCluster) -> None:
    server = cluster.running()
    old = {"host": None, "block_migration": True, "disk_over_commit": False}
    for version, value in (
        ("2.1", {"host": None, "block_migration": "auto"}),
        ("2.1", {"host": None, "block_migration": True}),
        ("2.25", old),
        ("2.95", {"host": None}),
        ("2.95", {"block_migration": "auto"}),
        ("2.95", {**LIVE, "force": True}),
        ("2.29", {**LIVE, "force": True}),
        ("2.95", {**LIVE, "host": server.node_id}),
        ("2.95", {**LIVE, "host": "nowhere"}),
    ):
        assert cluster.act(server.id, "os-migrateLive", value, version).status == 400, (version, value)
    cluster.act(server.id, "os-stop")
    cluster.settle()
    assert cluster.act(server.id, "os-migrateLive", LIVE).status == 409
    cluster.act(server.id, "os-start")
    cluster.settle()
    for node_id in cluster.nodes:
        if node_id != server.node_id:  # machines of another kind
            cluster.cloud.commit(patch(NodeRow, node_id, facts={"virt_type": "kvm"}))
    assert cluster.act(server.id, "os-migrateLive", LIVE).status == 400
    for node_id in cluster.nodes:
        cluster.cloud.commit(patch(NodeRow, node_id, facts={}))
    assert cluster.act(server.id, "os-migrateLive", old, "2.1").status == 202
