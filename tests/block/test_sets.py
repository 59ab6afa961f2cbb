"""Volumes over three nodes: what is lost is left out, what comes back is filled, nothing acknowledged is missing."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.errors import Unavailable
from node.plugins.block.drivers.driver import QosLimits
from node.plugins.block.drivers.replicated.copying import Pace
from node.plugins.block.drivers.replicated.nbd import Nbd, NbdError
from node.plugins.block.drivers.replicated.scrub import scrub
from node.plugins.block.tables import Snapshot, Volume
from node.testing.block_world import GIB, MIB, World

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def world(place: Path) -> Iterator[World]:
    made = World(place, 3)
    try:
        yield made
    finally:
        made.close()


class Guest:
    """Writes numbered blocks, again and again, and reconnects when the head is replaced, as QEMU does."""

    def __init__(self, world: World, node: str, volume: Volume, blocks: int = 64) -> None:
        self.engine = world.nodes[node].engine
        self.volume_id = volume.id
        self.acked = [0] * blocks
        self.sent = [0] * blocks
        self.pauses: list[float] = []
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number, place = 0, 0
        disk: Nbd | None = None
        while not self._stop.is_set():
            number += 1
            place = (place * 5 + 7) % len(self.acked)
            self.sent[place] = number
            began = time.monotonic()
            while not self._stop.is_set():
                try:
                    disk = disk or self.engine.connect(self.volume_id)
                    disk.write(place * 4096, number.to_bytes(8, "big") * 512)
                    break
                except NbdError:
                    disk = None
            else:
                break
            self.pauses.append(time.monotonic() - began)
            self.acked[place] = number
        if disk is not None:
            disk.close()

    def end(self) -> "Guest":
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self

    def check(self, data: bytes) -> None:
        """Every block holds what was acknowledged last, or what was sent after that."""
        for place, acked in enumerate(self.acked):
            block = data[place * 4096 : (place + 1) * 4096]
            assert block == block[:8] * 512, f"block {place} is torn"
            assert int.from_bytes(block[:8], "big") in (acked, self.sent[place])


def replica(world: World, node: str, volume: Volume) -> bytes:
    layers = world.nodes[node].site.layers
    target = world.place / "flat.raw"
    layers.flatten(world.set_of(volume.id).layers, target)
    with target.open("rb") as file:
        return file.read(MIB)


def replica_pid(world: World, node: str, volume: Volume) -> int:
    return int((world.nodes[node].site.home(volume.id) / "replica.pid").read_text())


def all_in(world: World, volume: Volume, count: int = 3) -> bool:
    row = world.set_of(volume.id)
    return len(row.members) == count


def test_a_killed_replica_is_left_out_and_comes_back(world: World) -> None:
    volume = world.volume()
    assert world.set_of(volume.id).members == ("n0", "n1", "n2")
    world.nodes["n0"].driver.connect(volume, "n0", "rw")
    guest = Guest(world, "n0", volume)
    world.wait("writes", lambda: min(guest.acked) > 0)
    os.kill(replica_pid(world, "n1", volume), signal.SIGKILL)
    world.wait("it is left out", lambda: world.set_of(volume.id).members == ("n0", "n2"))
    world.wait("it comes back", lambda: all_in(world, volume))
    seen = len(guest.pauses)
    world.wait("writes go on", lambda: len(guest.pauses) > seen + 20)
    guest.end()
    world.nodes["n0"].driver.disconnect(volume, "n0")
    contents = [replica(world, node, volume) for node in world.nodes]
    guest.check(contents[0])
    assert contents[0] == contents[1] == contents[2]
    assert max(guest.pauses) < 5


def test_a_hung_replica_stops_nobody_for_long(world: World) -> None:
    volume = world.volume()
    world.nodes["n0"].driver.connect(volume, "n0", "rw")
    guest = Guest(world, "n0", volume)
    world.wait("writes", lambda: min(guest.acked) > 0)
    os.kill(replica_pid(world, "n2", volume), signal.SIGSTOP)
    world.wait("it is left out", lambda: "n2" not in world.set_of(volume.id).members)
    world.wait("it comes back", lambda: all_in(world, volume))
    assert max(guest.pauses) < 8
    world.nodes["n0"].driver.disconnect(volume, "n0")
    guest.end().check(replica(world, "n2", volume))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_head_that_dies_or_hangs_is_replaced(world: World, number: signal.Signals) -> None:
    volume = world.volume()
    world.nodes["n1"].driver.connect(volume, "n1", "rw")
    guest = Guest(world, "n1", volume)
    world.wait("writes", lambda: min(guest.acked) > 0)
    pid = world.nodes["n1"].engine.head(volume.id).daemon.pid()
    assert pid is not None
    os.kill(pid, number)
    world.wait("the next epoch", lambda: world.set_of(volume.id).epoch > 2)
    seen = len(guest.pauses)
    world.wait("writes go on", lambda: len(guest.pauses) > seen + 20)
    assert all_in(world, volume)
    guest.end()


def test_a_node_without_the_majority_acknowledges_nothing_others_do_not_know(world: World) -> None:
    volume = world.volume()
    world.nodes["n0"].driver.connect(volume, "n0", "rw")
    guest = Guest(world, "n0", volume)
    world.wait("writes", lambda: min(guest.acked) > 0)
    world.minority.add("n0")
    world.cut |= {frozenset(("n0", "n1")), frozenset(("n0", "n2"))}
    world.down("n0")
    moved = world.nodes["n1"].driver
    connection = moved.connect(volume, "n1", "rw")
    assert connection.socket.is_relative_to(world.place / "n1")
    acked = list(guest.acked)
    row = world.set_of(volume.id)
    assert (row.head_node, row.members) == ("n1", ("n1", "n2"))
    with world.nodes["n1"].engine.connect(volume.id) as disk:
        guest.check(disk.read(0, len(acked) * 4096))
        disk.write(0, b"\xaa" * 4096)
    assert guest.acked == acked, "the old head acknowledged a write of an epoch that is over"
    guest._stop.set()
    world.minority.clear()
    world.cut.clear()
    world.down("n0", is_down=False)
    world.wait("the old head ends", lambda: world.nodes["n0"].engine.head(volume.id).running() is None)
    guest.end()
    world.wait("its replica is filled", lambda: all_in(world, volume), 60)
    moved.disconnect(volume, "n1")
    assert replica(world, "n0", volume)[:4096] == b"\xaa" * 4096


def test_all_is_killed_in_mid_write_and_replicas_are_equal_again(world: World) -> None:
    volume = world.volume()
    world.nodes["n0"].driver.connect(volume, "n0", "rw")
    guest = Guest(world, "n0", volume)
    world.wait("writes", lambda: min(guest.acked) > 0)
    for node in world.nodes.values():
        node.runtime.stop()
    head = world.nodes["n0"].engine.head(volume.id).daemon
    for daemon_pid in (replica_pid(world, "n1", volume), head.pid(), replica_pid(world, "n2", volume)):
        assert daemon_pid is not None
        os.kill(daemon_pid, signal.SIGKILL)
    guest.end()
    # What the head had in flight, and only one replica got:
    path = world.nodes["n2"].site.layers.path(world.set_of(volume.id).layers[0])
    with path.open("r+b") as file:
        file.seek(200 * 4096)
        file.write(b"\x55" * 4096)
    for node in world.nodes.values():
        node.begin()
        node.runtime.start()
    world.nodes["n0"].driver.connect(volume, "n0", "rw")
    row = world.set_of(volume.id)
    assert row.members == ("n0", "n1", "n2")
    world.nodes["n0"].driver.disconnect(volume, "n0")
    contents = [replica(world, node, volume) for node in world.nodes]
    assert contents[0] == contents[1] == contents[2]
    guest.check(contents[0])


def test_the_daemon_is_killed_and_finds_its_heads_again(world: World) -> None:
    volume = world.volume()
    node = world.nodes["n0"]
    node.driver.connect(volume, "n0", "rw")
    epoch = world.set_of(volume.id).epoch
    node.restart()
    with node.engine.connect(volume.id) as disk:
        disk.write(0, b"a" * 512)
    world.wait("it watches again", lambda: len(node.engine.probes.watched(volume.id)) == 4)
    assert world.set_of(volume.id).epoch == epoch
    os.kill(replica_pid(world, "n1", volume), signal.SIGKILL)
    world.wait("the next epoch", lambda: world.set_of(volume.id).epoch > epoch)


def test_a_replica_on_a_full_disk_is_left_out(world: World) -> None:
    layers = world.nodes["n1"].site.layers.directory
    layers.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", layers], check=True)
    try:
        volume = world.volume()
        assert "n1" in world.set_of(volume.id).members
        world.nodes["n0"].driver.connect(volume, "n0", "rw")
        disk: Nbd | None = None
        for number in range(16):
            deadline = time.monotonic() + 30
            while True:  # a guest with werror=stop pauses and goes on
                try:
                    disk = disk or world.nodes["n0"].engine.connect(volume.id)
                    disk.write(number * MIB, b"a" * MIB)
                    break
                except NbdError:
                    disk = None
                    assert time.monotonic() < deadline
        assert disk is not None
        disk.close()
        assert world.set_of(volume.id).members == ("n0", "n2")
        world.nodes["n0"].driver.disconnect(volume, "n0")
    finally:
        world.close()
        subprocess.run(["umount", "-l", layers], check=True)


def test_snapshots_and_growth_under_writes(world: World) -> None:
    volume = world.volume()
    driver = world.nodes["n0"].driver
    driver.connect(volume, "n0", "rw")
    guest = Guest(world, "n0", volume)
    world.wait("writes", lambda: min(guest.acked) > 0)
    snapshot = Snapshot(id=world.ids.uuid(), volume_id=volume.id, size_gib=1, node_id="n0")
    before = list(guest.acked)
    driver.snapshot(volume, snapshot)
    driver.extend(volume, 2)
    driver.qos(volume, QosLimits(total_iops=2000))
    with driver.export(snapshot) as kept:
        for place, acked in enumerate(before):
            found = int.from_bytes(kept.read(place * 4096, 8), "big")
            assert acked <= found <= guest.sent[place]
    with world.nodes["n0"].engine.connect(volume.id) as disk:
        assert disk.size_bytes == 2 * GIB
    guest.end()
    driver.disconnect(volume, "n0")
    assert world.set_of(volume.id).members == ("n0", "n1", "n2")
    contents = [replica(world, node, volume) for node in world.nodes]
    assert contents[0] == contents[1] == contents[2]
    guest.check(contents[0])
    driver.delete_snapshot(volume, snapshot)
    driver.delete(volume)
    for node in world.nodes.values():
        world.wait("nothing is left", lambda node=node: not node.site.layers.names())


def test_a_volume_is_used_on_one_node_at_a_time(world: World) -> None:
    volume = world.volume()
    world.nodes["n0"].driver.connect(volume, "n0", "rw")
    with pytest.raises(Exception, match="is used by node n0"):
        world.nodes["n1"].driver.connect(volume, "n1", "rw")
    world.nodes["n0"].driver.disconnect(volume, "n0")
    world.nodes["n1"].driver.connect(volume, "n1", "rw")
    with pytest.raises(Unavailable), world.nodes["n0"].driver.export(volume):
        pass


def test_a_layer_frozen_without_a_replica_is_brought_to_it(world: World) -> None:
    volume = world.volume()
    driver = world.nodes["n0"].driver
    driver.connect(volume, "n0", "rw")
    world.cut |= {frozenset(("n0", "n2"))}
    os.kill(replica_pid(world, "n2", volume), signal.SIGKILL)
    world.wait("it is left out", lambda: world.set_of(volume.id).members == ("n0", "n1"))
    with world.nodes["n0"].engine.connect(volume.id) as disk:
        disk.write(0, b"a" * 4096)  # n2 never hears of this one
    driver.snapshot(volume, Snapshot(id=world.ids.uuid(), volume_id=volume.id, size_gib=1))
    world.cut.clear()
    world.wait("it comes back", lambda: all_in(world, volume))
    driver.disconnect(volume, "n0")
    assert replica(world, "n2", volume)[:4096] == b"a" * 4096


@pytest.mark.parametrize("nodes", [("n0",), ("n0", "n1", "n2")])
def test_a_head_killed_over_an_overlay_loses_nothing(place: Path, nodes: tuple[str, ...]) -> None:
    """The tables of an overlay are in its process: they must be written before a write is acknowledged."""
    made = World(place, len(nodes))
    try:
        volume, node = made.volume(), made.nodes["n0"]
        node.driver.connect(volume, "n0", "rw")
        node.driver.snapshot(volume, Snapshot(id=made.ids.uuid(), volume_id=volume.id, size_gib=1))
        with node.engine.connect(volume.id) as disk:
            for number in range(200):
                disk.write(number * 65536, b"a" * 4096)
            epoch = made.set_of(volume.id).epoch
            pid = node.engine.head(volume.id).daemon.pid()
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        made.wait("the next epoch", lambda: made.set_of(volume.id).epoch > epoch)
        with node.engine.connect(volume.id) as disk:
            assert all(disk.read(n * 65536, 4096) == b"a" * 4096 for n in range(200))
    finally:
        made.close()


def test_the_node_that_uses_a_volume_gets_a_replica(world: World) -> None:
    volume = world.volume()
    world.cut |= {frozenset(("n0", "n2")), frozenset(("n1", "n2"))}
    world.nodes["n0"].driver.connect(volume, "n0", "rw")
    assert world.set_of(volume.id).members == ("n0", "n1")
    world.nodes["n0"].driver.disconnect(volume, "n0")
    world.cut.clear()
    world.wait("it is filled by its first member", lambda: all_in(world, volume))
    world.wait("that is over", lambda: world.set_of(volume.id).use == "")
    world.cut |= {frozenset(("n0", "n2")), frozenset(("n1", "n2"))}
    world.nodes["n0"].driver.connect(volume, "n0", "rw")
    world.nodes["n0"].driver.disconnect(volume, "n0")
    world.cut.clear()
    world.nodes["n2"].driver.connect(volume, "n2", "rw")
    guest = Guest(world, "n2", volume)
    world.wait("the head's own node is filled", lambda: all_in(world, volume))
    world.nodes["n2"].driver.disconnect(volume, "n2")
    guest.end().check(replica(world, "n2", volume))


def test_a_replica_with_wrong_blocks_is_found_and_filled_anew(world: World) -> None:
    volume = world.volume()
    engine = world.nodes["n0"].engine
    world.nodes["n0"].driver.connect(volume, "n0", "rw")
    guest = Guest(world, "n0", volume)
    world.wait("writes", lambda: min(guest.acked) > 0)
    assert scrub(engine, volume.id, Pace()) == "", "a write under way is no difference"
    path = world.nodes["n2"].site.layers.path(world.set_of(volume.id).layers[0])
    with path.open("r+b") as file:
        file.seek(200 * 4096)
        file.write(b"\x55" * 4096)
    assert "1 blocks of the replicas differ" in scrub(engine, volume.id, Pace())
    world.wait("it comes back", lambda: all_in(world, volume))
    assert scrub(engine, volume.id, Pace()) == ""
    world.nodes["n0"].driver.disconnect(volume, "n0")
    guest.end().check(replica(world, "n2", volume))
    assert replica(world, "n2", volume)[200 * 4096 :][:4096] == bytes(4096)


def test_a_replica_of_a_node_that_stays_away_is_made_elsewhere(place: Path) -> None:
    made = World(place, 3, replicas=2, replace_after_s=0)
    try:
        volume = made.volume()
        first, second = made.set_of(volume.id).members
        (third,) = set(made.nodes) - {first, second}
        made.nodes[first].driver.connect(volume, first, "rw")
        with made.nodes[first].engine.connect(volume.id) as disk:
            disk.write(0, b"a" * 4096)
            disk.flush()
        made.cut |= {frozenset((second, other)) for other in (first, third)}
        made.down(second)
        os.kill(replica_pid(made, second, volume), signal.SIGKILL)
        made.wait("it is elsewhere", lambda: made.set_of(volume.id).members == (first, third))
        assert set(made.set_of(volume.id).wanted) == {first, third}
        made.nodes[first].driver.disconnect(volume, first)
        assert replica(made, third, volume)[:4096] == b"a" * 4096
        made.down(second, is_down=False)
        gone = made.nodes[second].site.layers
        made.wait("what is left over goes", lambda: not gone.names())
    finally:
        made.close()
