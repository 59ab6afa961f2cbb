"""Kills, stops and cuts off everything that serves volumes, at random, under guests that check what they read.

    python -m tests.block.fire --seconds 600 [--seed N]

prints the seed; the same seed does the same things in the same order, though not at the same instants.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from node.errors import NodeError
from node.plugins.block.drivers.driver import DriverError
from node.plugins.block.tables import Snapshot, Volume
from node.testing.block_world import World
from tests.block.conftest import running
from tests.block.guests import BLOCK, Guest, Memory

T = TypeVar("T")

NODES = 3
BLOCKS = 512
_QUIET_S = 120.0


class Campaign:
    """Volumes with guests, and what happens to them."""

    def __init__(self, place: Path, seed: int, volumes: int = 2) -> None:
        self.random = random.Random(seed)
        self.place = place
        self.world = World(place, NODES)
        self.done: dict[str, int] = {}
        self.guests: dict[str, Guest] = {}
        self.homes: dict[str, str] = {}
        self.memories: dict[str, Memory] = {}
        self.volumes: list[Volume] = []
        self.longest_s = 0.0
        self.writes = 0
        self._number = seed * 1000
        for number in range(volumes):
            volume = self.world.volume(f"n{number % NODES}")
            self.volumes.append(volume)
            self.memories[volume.id] = Memory(BLOCKS)
            self.start(volume, f"n{number % NODES}")

    def run(self, seconds: float) -> None:
        """Let things happen for so long."""
        end = time.monotonic() + seconds
        actions: list[tuple[int, Callable[[Volume], None]]] = [
            (6, self.kill_replica), (3, self.stop_replica), (4, self.kill_head), (2, self.stop_head),
            (3, self.restart_daemon), (2, self.crash_node), (2, self.crash_all), (3, self.snapshot),
            (2, self.move), (2, self.isolate), (2, self.kill_guest),
        ]  # fmt: skip
        weights = [weight for weight, _ in actions]
        while time.monotonic() < end:
            volume = self.random.choice(self.volumes)
            _, action = self.random.choices(actions, weights)[0]
            self.done[action.__name__] = self.done.get(action.__name__, 0) + 1
            action(volume)
            self.wait_for_writes()
            if self.random.random() < 0.5:
                self.wait_for_replicas()

    def finish(self) -> None:
        """End the guests in peace; all replicas must be equal, and hold what was acknowledged."""
        self.wait_for_replicas()
        for volume in self.volumes:
            self.guests[volume.id].end()
            self.note(volume)
            self.world.nodes[self.homes[volume.id]].driver.disconnect(volume, self.homes[volume.id])
            self.compare(volume)

    # -- what happens

    def kill_replica(self, volume: Volume) -> None:
        self._signal_replica(volume, signal.SIGKILL)

    def stop_replica(self, volume: Volume) -> None:
        self._signal_replica(volume, signal.SIGSTOP)

    def kill_head(self, volume: Volume) -> None:
        self._signal_head(volume, signal.SIGKILL)

    def stop_head(self, volume: Volume) -> None:
        self._signal_head(volume, signal.SIGSTOP)

    def restart_daemon(self, volume: Volume) -> None:
        del volume
        self.world.nodes[f"n{self.random.randrange(NODES)}"].restart()

    def crash_node(self, volume: Volume) -> None:
        """Everything of one node dies at once; its guests start again on it."""
        self._crash([self.homes[volume.id]])

    def crash_all(self, volume: Volume) -> None:
        """Everything of all nodes dies at once."""
        del volume
        self._crash(list(self.world.nodes))

    def snapshot(self, volume: Volume) -> None:
        driver = self.world.nodes[self.homes[volume.id]].driver
        row = Snapshot(id=self.world.ids.uuid(), volume_id=volume.id, size_gib=1)
        self._insist(lambda: driver.snapshot(volume, row))

    def move(self, volume: Volume) -> None:
        """The guest ends, and starts on another node."""
        old = self.homes[volume.id]
        self.guests[volume.id].end()
        self.note(volume)
        self.world.nodes[old].driver.disconnect(volume, old)
        self.start(volume, f"n{self.random.randrange(NODES)}")

    def isolate(self, volume: Volume) -> None:
        """A node is cut off with its guest, which another node takes over; then it comes back."""
        old = self.homes[volume.id]
        others = [name for name in self.world.nodes if name != old]
        mine = [v for v in self.volumes if self.homes[v.id] == old]
        if any(set(self.world.set_of(v.id).members) <= {old} for v in mine):
            return  # nobody else has it: it would have to wait
        self.world.minority.add(old)
        self.world.cut |= {frozenset((old, other)) for other in others}
        self.world.down(old)
        guests = [self.guests[v.id] for v in mine]
        for one in mine:
            self.start(one, self.random.choice(others), old_memory=False)
        for guest in guests:
            guest.kill()
        self.world.cut.clear()
        self.world.minority.clear()
        self.world.down(old, is_down=False)

    def kill_guest(self, volume: Volume) -> None:
        self.guests[volume.id].kill()
        self.note(volume)
        self.start(volume, self.homes[volume.id])

    # -- and what is waited for

    def start(self, volume: Volume, home: str, *, old_memory: bool = True) -> None:
        """Start a guest. Where an old one may go on writing in vain, it writes into a memory of its own."""
        link = self._insist(lambda: self.world.nodes[home].driver.connect(volume, home, "rw"))
        if not old_memory:
            old = self.guests[volume.id].memory
            fresh = Memory(BLOCKS)
            fresh.valid = [set(values) for values in old.valid]
            fresh._number = old._number + 1_000_000
            self.memories[volume.id] = fresh
        self._number += 1
        self.homes[volume.id] = home
        self.guests[volume.id] = Guest(
            self.place, link.socket, self.memories[volume.id], self._number
        )

    def wait_for_writes(self) -> None:
        """Every guest must get answers again."""
        for volume in self.volumes:
            guest = self.guests[volume.id]
            seen = guest.writes
            self.world.wait(
                f"writes to {volume.id}: {self.world.set_of(volume.id)}",
                lambda guest=guest, seen=seen: bool(guest.error) or guest.writes > seen + 5,
                _QUIET_S,
            )
            assert not guest.error, guest.error

    def wait_for_replicas(self) -> None:
        for volume in self.volumes:
            self.world.wait(
                f"all replicas of {volume.id}: {self.world.set_of(volume.id)}",
                lambda volume=volume: len(self.world.set_of(volume.id).members) == NODES,
                _QUIET_S,
            )

    def note(self, volume: Volume) -> None:
        guest = self.guests[volume.id]
        assert not guest.error, guest.error
        self.longest_s = max(self.longest_s, guest.longest_s)
        self.writes += guest.writes

    def compare(self, volume: Volume) -> None:
        """Compare the replicas of a volume that nobody uses with each other, and with what the guest knows."""
        row = self.world.set_of(volume.id)
        contents = {}
        for name in row.members:
            target = self.place / "flat.raw"
            self.world.nodes[name].site.layers.flatten(row.layers, target)
            with target.open("rb") as file:
                contents[name] = file.read(BLOCKS * BLOCK)
        first = contents[row.members[0]]
        for place in range(BLOCKS):
            self.memories[volume.id].check(place, first[place * BLOCK : (place + 1) * BLOCK])
        differing = [name for name, data in contents.items() if data != first]
        assert not differing, f"{differing} differ from {row.members[0]}"

    def _crash(self, names: list[str]) -> None:
        for name in names:
            self.world.nodes[name].runtime.stop()
        victims = [v for v in self.volumes if self.homes[v.id] in names]
        for name in names:
            for pid in running(self.place / name):
                os.kill(pid, signal.SIGKILL)
        for volume in victims:
            self.guests[volume.id].kill()
            self.note(volume)
        for name in names:
            self.world.nodes[name].begin()
            self.world.nodes[name].runtime.start()
        for volume in victims:
            self.start(volume, self.homes[volume.id])

    def _signal_replica(self, volume: Volume, number: int) -> None:
        others = [n for n in self.world.set_of(volume.id).members if n != self.homes[volume.id]]
        if not others:
            return
        site = self.world.nodes[self.random.choice(others)].site
        self._signal(site.home(volume.id) / "replica.pid", number)

    def _signal_head(self, volume: Volume, number: int) -> None:
        site = self.world.nodes[self.homes[volume.id]].site
        self._signal(site.home(volume.id) / "head.pid", number)

    def _signal(self, path: Path, number: int) -> None:
        try:
            pid = int(path.read_text())
        except (OSError, ValueError):
            return
        if pid in running(self.place):
            os.kill(pid, number)

    def _insist(self, call: Callable[[], T]) -> T:
        """Do it again and again, as the reconciler of volumes does."""
        end = time.monotonic() + _QUIET_S
        while True:
            try:
                return call()
            except DriverError:
                if time.monotonic() > end:
                    raise
            except NodeError as error:
                if time.monotonic() > end:
                    raise AssertionError(f"in vain: {error}") from error
            time.sleep(0.05)

    def close(self) -> None:
        for guest in self.guests.values():
            guest.kill()
        self.world.close()


def _large(_directory: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".raw", ".qcow2", ".sock", ".qmp"))]


def main() -> int:
    """Run one campaign."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--volumes", type=int, default=3)
    parser.add_argument("--keep", help="where logs and states go when it fails")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    place = Path(tempfile.mkdtemp(prefix="hgf-"))
    campaign = Campaign(place, given.seed, given.volumes)
    began = time.monotonic()
    try:
        campaign.run(given.seconds)
        campaign.finish()
    except BaseException:
        if given.keep:
            shutil.copytree(place, given.keep, ignore=_large, dirs_exist_ok=True)
        raise
    finally:
        print(f"after {time.monotonic() - began:.0f} s: {campaign.done}", flush=True)
        campaign.close()
        for pid in running(place):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(place, ignore_errors=True)
    print(f"clean: {campaign.writes} writes, longest wait {campaign.longest_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
