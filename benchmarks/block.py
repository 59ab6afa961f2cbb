#!/usr/bin/env python3
"""Volumes: I/O through a head and its replicas, what a set change costs a guest, and memory.

    benchmarks/block.py [--seconds S] [--directory DIR]

All replicas are on this machine's disk and processors, so three of them pay three times for each write, which three
machines would not. The load is QEMU's own (`qemu-img bench` over the unix socket that a guest uses); the offsets of
"scattered" requests are a fixed large step apart. `bare` is the same file behind one export of one process: a volume
with one replica is exactly that.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from node.plugins.block.drivers.replicated.nbd import Nbd, NbdError
from node.plugins.block.drivers.replicated.process import BINARY, command_line
from node.plugins.block.drivers.replicated.set_change import Change
from node.plugins.block.tables import Snapshot, Volume
from node.testing.block_world import MIB, World

SIZE_MIB = 512
_STEP = 37 * 4096 * 257
_JOBS = (
    ("4 KiB write, depth 1, flush each", 4096, 1, True, 1),
    ("4 KiB write, depth 16, a flush each 16", 4096, 16, True, 16),
    ("4 KiB write, depth 1", 4096, 1, True, 0),
    ("4 KiB write, depth 16", 4096, 16, True, 0),
    ("4 KiB write, depth 32", 4096, 32, True, 0),
    ("4 KiB read, depth 1", 4096, 1, False, 0),
    ("4 KiB read, depth 16", 4096, 16, False, 0),
    ("4 KiB read, depth 32", 4096, 32, False, 0),
    ("1 MiB write, depth 4", MIB, 4, True, 0),
    ("1 MiB read, depth 4", MIB, 4, False, 0),
)


def bench(socket: Path, block: int, depth: int, *, is_write: bool, flush: int, seconds: float) -> float:
    """Return requests a second."""
    step = _STEP if block == 4096 else block
    options = f"driver=nbd,server.type=unix,server.path={socket},export=vol"

    def run(count: int) -> float:
        argv = ["qemu-img", "bench", "--image-opts", options, "-c", str(count), "-d", str(depth)]
        argv += ["-s", str(block), "-S", str(step), "-t", "none"]
        argv += (["-w", "--pattern", "165"] if is_write else []) + (
            [f"--flush-interval={flush}"] if flush else []
        )
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return float(re.findall(r"completed in ([0-9.]+) seconds", done.stdout)[0])

    probe = 200 if block == 4096 else 32
    rate = probe / max(0.001, run(probe))
    count = max(probe, int(rate * seconds))
    return count / max(0.001, run(count))


def measure(place: Path, replicas: int, *, tls: bool, overlay: bool, seconds: float) -> dict[str, float]:
    """Return figures of one layout."""
    world = World(place, replicas, tls=tls)
    found: dict[str, float] = {}
    try:
        volume, driver = world.volume(), world.nodes["n0"].driver
        if overlay:
            driver.snapshot(volume, Snapshot(id=world.ids.uuid(), volume_id=volume.id, size_gib=1))
        began = time.monotonic()
        link = driver.connect(volume, "n0", "rw")
        found["connect, ms"] = (time.monotonic() - began) * 1000
        with world.nodes["n0"].engine.connect(volume.id) as disk:
            for place_mib in range(0, SIZE_MIB, 4):
                disk.write(place_mib * MIB, b"\xa5" * 4 * MIB)
        for name, block, depth, is_write, flush in _JOBS:
            found[name] = bench(
                link.socket, block, depth, is_write=is_write, flush=flush, seconds=seconds
            )
        found["memory of all processes, MiB RSS"] = memory(world.place, "VmRSS")
        pauses = swaps(world, volume)
        found["set change under load, ms, median"] = sorted(pauses)[len(pauses) // 2]
        found["set change under load, ms, worst"] = max(pauses)
    finally:
        world.close()
    return found


def swaps(world: World, volume: Volume, count: int = 10) -> list[float]:
    """Return how long a writer waited, at most, around each of some set changes."""
    engine = world.nodes["n0"].engine
    longest, stop = [0.0], threading.Event()

    def write() -> None:
        disk: Nbd | None = None
        while not stop.is_set():
            began = time.monotonic()
            while not stop.is_set():
                try:
                    disk = disk or engine.connect(volume.id)
                    disk.write(0, b"\x5a" * 4096)
                    break
                except NbdError:
                    disk = None
            longest[0] = max(longest[0], time.monotonic() - began)

    writer = threading.Thread(target=write)
    writer.start()
    found = []
    try:
        for _number in range(count):
            time.sleep(0.3)  # the load between two changes, not a wait for anything
            longest[0] = 0.0
            engine.change(volume.id, Change())
            time.sleep(0.3)
            found.append(longest[0] * 1000)
    finally:
        stop.set()
        writer.join()
    return found


def memory(directory: Path, field: str) -> float:
    """Return memory of all storage daemons of a directory, MiB."""
    total = 0
    for entry in Path("/proc").iterdir():
        line = command_line(int(entry.name)) if entry.name.isdigit() else []
        if line[:1] == [BINARY] and any(part.startswith(f"{directory}/") for part in line):
            text = (entry / "status").read_text()
            total += int(re.findall(rf"{field}:\s+(\d+)", text)[0])
    return total / 1024


def main() -> int:
    """Measure all layouts and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--directory", type=Path, default=None)
    given = parser.parse_args()
    layouts = (
        ("bare, one replica", 1, False, False),
        ("one, overlay", 1, False, True),
        ("three, plain", 3, False, False),
        ("three, TLS", 3, True, False),
        ("three, TLS, overlay", 3, True, True),
    )
    columns: list[tuple[str, dict[str, float]]] = []
    for name, replicas, tls, overlay in layouts:
        place = Path(tempfile.mkdtemp(prefix="hgb-", dir=given.directory))
        try:
            columns.append(
                (name, measure(place, replicas, tls=tls, overlay=overlay, seconds=given.seconds))
            )
        finally:
            shutil.rmtree(place, ignore_errors=True)
    print(f"load {os.getloadavg()[0]:.1f}; requests a second where nothing else is said")
    print("| figure | " + " | ".join(name for name, _ in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for figure in columns[0][1]:
        print(f"| {figure} | " + " | ".join(f"{found[figure]:,.0f}" for _, found in columns) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
