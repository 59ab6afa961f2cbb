"""Heads and replicas as processes: real qemu-storage-daemons on this machine, no rows."""

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from node.errors import Conflict, NotFound
from node.plugins.block.drivers.replicated.head_process import EXPORT, HeadProcess, Member
from node.plugins.block.drivers.replicated.nbd import ALLOCATION, Nbd, NbdError
from node.plugins.block.drivers.replicated.process import StorageDaemonError
from node.plugins.block.drivers.replicated.qmp import QmpError, QmpLost, connect_unix
from node.plugins.block.drivers.replicated.replica_process import Place, ReplicaProcess
from node.plugins.block.drivers.replicated.replica_site import ReplicaSite

MIB = 1 << 20
SIZE = 16 * MIB
LAYERS = ("v.raw",)


def nodes(place: Path, count: int) -> list[ReplicaSite]:
    found = [ReplicaSite(place / f"n{number}", Place()) for number in range(count)]
    for site in found:
        site.prepare("v", LAYERS, SIZE)
    return found


def serve(sites: list[ReplicaSite], epoch: int, layers: tuple[str, ...] = LAYERS) -> list[Member]:
    """Return members of which the first is local to the head."""
    members = [Member(node_id="0")]
    for number, site in enumerate(sites[1:], 1):
        port = site.serve("v", epoch, layers, SIZE, joins=False)
        members.append(Member(node_id=str(number), host="127.0.0.1", port=port))
    return members


def guest(head: HeadProcess) -> Nbd:
    return Nbd(connect_unix(head.socket_path, 10.0), EXPORT)


def content(site: ReplicaSite, layer: str = "v.raw") -> bytes:
    return site.layers.path(layer).read_bytes()


def test_a_write_is_on_all_replicas_before_it_is_acknowledged(place: Path) -> None:
    sites = nodes(place, 3)
    head = HeadProcess(sites[0].home("v"), sites[0].layers)
    head.start(1, serve(sites, 1), LAYERS, SIZE)
    with guest(head) as disk:
        disk.write(MIB, b"a" * 4096)
        assert [content(site)[MIB : MIB + 4096] for site in sites] == [b"a" * 4096] * 3
        assert disk.size_bytes == SIZE
    head.close()
    assert not head.socket_path.exists()
    assert head.running() is None


def test_zeroes_free_space_on_every_replica(place: Path) -> None:
    sites = nodes(place, 2)
    head = HeadProcess(sites[0].home("v"), sites[0].layers)
    head.start(1, serve(sites, 1), LAYERS, SIZE)
    with guest(head) as disk:
        disk.write(0, b"a" * 8 * MIB)
        full = [site.layers.used_bytes(LAYERS) for site in sites]
        disk.write(0, bytes(4 * MIB))
        disk.write_zeroes(4 * MIB, 4 * MIB)
    assert full == [8 * MIB] * 2
    assert [site.layers.used_bytes(LAYERS) for site in sites] == [0, 0]


def test_a_fenced_head_can_write_nothing_any_more(place: Path) -> None:
    sites = nodes(place, 3)
    head = HeadProcess(sites[0].home("v"), sites[0].layers)
    head.start(1, serve(sites, 1), LAYERS, SIZE)
    disk = guest(head)
    disk.write(0, b"a" * 512)
    sites[1].fence("v", 1)
    failed = threading.Event()

    def write() -> None:
        try:
            disk.write(0, b"b" * 512)
        except NbdError:
            failed.set()

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(0.3)
    assert writer.is_alive(), "a write was answered without the fenced replica"
    head.kill()
    writer.join(5)
    assert failed.is_set()
    assert content(sites[1])[:512] == b"a" * 512
    with pytest.raises(Conflict):
        sites[1].serve("v", 1, LAYERS, SIZE, joins=False)
    with pytest.raises(StorageDaemonError):
        head.start(1, [Member(node_id="1", host="127.0.0.1", port=sites[1].served("v").port)], LAYERS, SIZE)


def test_the_next_epoch_goes_on_where_the_last_was_killed(place: Path) -> None:
    sites = nodes(place, 3)
    head = HeadProcess(sites[0].home("v"), sites[0].layers)
    head.start(1, serve(sites, 1), LAYERS, SIZE)
    with guest(head) as disk:
        disk.write(0, b"a" * 512)
    head.kill()
    waiting: list[bytes] = []
    reader = threading.Thread(target=lambda: waiting.append(guest(head).read(0, 512)))
    reader.start()  # connects while no head runs
    for site in sites[:2]:
        site.fence("v", 1)
    head.start(2, serve(sites[:2], 2), LAYERS, SIZE)
    reader.join(10)
    assert waiting == [b"a" * 512]


def test_a_daemon_started_anew_takes_the_socket_from_the_head(place: Path) -> None:
    sites = nodes(place, 1)
    first = HeadProcess(sites[0].home("v"), sites[0].layers)
    first.start(1, serve(sites, 1), LAYERS, SIZE)
    first.let_go()
    again = HeadProcess(sites[0].home("v"), sites[0].layers)
    inode = os.stat(again.socket_path).st_ino
    found = again.running()
    assert found is not None
    assert found.epoch == 1
    again.kill()
    again.start(2, serve(sites, 2), LAYERS, SIZE)
    assert os.stat(again.socket_path).st_ino == inode
    with guest(again) as disk:
        disk.write(0, b"a" * 512)


def test_a_hung_replica_is_fenced_all_the_same(place: Path) -> None:
    sites = nodes(place, 2)
    port = sites[1].serve("v", 1, LAYERS, SIZE, joins=False)
    process = ReplicaProcess(sites[1].home("v"), sites[1].layers)
    pid = process.daemon.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    sites[1].fence("v", 1)
    assert process.daemon.pid() is None
    assert sites[1].serve("v", 2, LAYERS, SIZE, joins=False) != port


def test_a_fence_from_elsewhere_ends_the_head_here(place: Path) -> None:
    sites = nodes(place, 1)
    head = HeadProcess(sites[0].home("v"), sites[0].layers)
    head.start(3, serve(sites, 3), LAYERS, SIZE)
    sites[0].fence("v", 2)
    assert head.running() is not None
    sites[0].fence("v", 3)
    assert head.running() is None


def test_the_log_keeps_what_was_written_last(place: Path) -> None:
    sites = nodes(place, 2)
    head = HeadProcess(sites[0].home("v"), sites[0].layers)
    head.start(1, serve(sites, 1), LAYERS, SIZE)
    with guest(head) as disk:
        disk.write(0, b"a" * 512)
        assert sites[1].rotate("v")
        disk.write(4 * MIB, b"b" * 512)
        for _ in range(5):
            sites[1].rotate("v")  # only the first begins an interval
        disk.write(8 * MIB, b"c" * 512)
    head.kill()
    sites[1].fence("v", 1)
    gap = sites[1].gap("v", 2, LAYERS, 1)
    assert gap.has_log
    contexts = [f"qemu:dirty-bitmap:{name}" for name in gap.bitmaps]
    with Nbd(tcp(gap.port), gap.export, [ALLOCATION, *contexts]) as replica:
        dirty = {
            extent.offset
            for context in contexts
            for extent in replica.extents(context)
            if extent.flags & 1
        }
    assert dirty == {4 * MIB, 8 * MIB}
    assert not sites[1].gap("v", 3, LAYERS, 0).has_log, "it may differ from before the log began"


def test_who_knows_old_rows_disturbs_no_newer_epoch(place: Path) -> None:
    sites = nodes(place, 2)
    head = HeadProcess(sites[0].home("v"), sites[0].layers)
    head.start(5, serve(sites, 5), LAYERS, SIZE)
    sites[1].fence("v", 4)
    for epoch in (4, 5):
        with pytest.raises(Conflict):
            sites[1].gap("v", epoch, LAYERS, 1)
        with pytest.raises(Conflict):
            sites[1].receive("v", epoch, LAYERS, SIZE)
    with pytest.raises(Conflict):
        sites[1].serve("v", 4, LAYERS, SIZE, joins=False)
    with guest(head) as disk:
        disk.write(0, b"a" * 512)


def test_a_snapshot_freezes_what_is_below(place: Path) -> None:
    sites = nodes(place, 2)
    head = HeadProcess(sites[0].home("v"), sites[0].layers)
    head.start(1, serve(sites, 1), LAYERS, SIZE)
    with guest(head) as disk:
        disk.write(0, b"a" * 65536)
    head.kill()
    grown = (*LAYERS, "w.qcow2")
    for site in sites:
        site.fence("v", 1)
        site.prepare("v", grown, SIZE)
    head.start(2, serve(sites, 2, grown), grown, SIZE)
    with guest(head) as disk:
        disk.write(0, b"b" * 512)
        assert disk.read(0, 1024) == b"b" * 512 + b"a" * 512
    for site in sites:
        assert content(site)[:65536] == b"a" * 65536
    with pytest.raises(NotFound):
        sites[1].serve("v", 3, (*grown, "x.qcow2"), SIZE, joins=False)


def test_the_monitor_says_no_and_goes(place: Path) -> None:
    sites = nodes(place, 1)
    sites[0].serve("v", 1, LAYERS, SIZE, joins=False)
    process = ReplicaProcess(sites[0].home("v"), sites[0].layers)
    with process.daemon.qmp() as qmp:
        with pytest.raises(QmpError):
            qmp.ask("block-export-del", {"id": "none"})
        with pytest.raises(QmpLost):
            qmp.wait_event("NEVER", bool, 0.05)
        assert qmp.ask("query-block-exports")
    process.daemon.kill()
    with pytest.raises(QmpLost):
        process.daemon.qmp()


def tcp(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)
