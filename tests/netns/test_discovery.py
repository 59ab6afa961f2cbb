"""Nodes see each other by multicast, also one whose address comes late or changes."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.netns.test_formation import NEEDED, REPO, Place, placed, run

PATIENCE_S = 120.0


class Watcher:
    """One node, and whom it sees."""

    def __init__(self, place: Place, node: int, *more: str) -> None:
        self._out = place.directory / f"seen-{node}"
        with self._out.open("wb") as out, (place.directory / f"err-{node}").open("wb") as errors:
            place.processes[node] = subprocess.Popen(
                [
                    "ip", "netns", "exec", place.name(node), sys.executable,
                    "-m", "tests.netns.discovery_node", str(place.directory / f"d{node}"), f"n{node}", *more,
                ],
                cwd=REPO, stdout=out, stderr=errors, text=True,
            )  # fmt: skip

    @property
    def sees(self) -> dict[str, str]:
        lines = self._out.read_text().splitlines()
        found: dict[str, str] = json.loads(lines[-2]) if len(lines) > 1 else {}
        return found


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def need_tools() -> None:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}")


def test_fresh_nodes_find_each_other_soon_after_a_long_split(tmp_path: Path) -> None:
    """Multicast DNS asks at 0, 1, 4, 13, 40, 121 s and so on: whoever waits for a cluster asks all the time."""
    need_tools()
    with placed(tmp_path, 2, 3) as place:
        place.hurt(sides=[0, 1])
        both = [Watcher(place, node, "2.0") for node in range(2)]
        until(lambda: all(one._out.stat().st_size > 0 for one in both), "started")
        time.sleep(14.5)  # the next question of the library itself would come 25 s later
        assert [one.sees for one in both] == [{}, {}]
        place.hurt()
        healed_s = time.monotonic()
        until(lambda: all(one.sees for one in both), "they see each other")
        assert time.monotonic() - healed_s < 20.0


def test_an_address_that_comes_late_and_one_that_changes(tmp_path: Path) -> None:
    need_tools()
    with placed(tmp_path, 2, 3) as place:
        run("ip", "-n", place.name(1), "address", "flush", "dev", "eth0")
        first, second = Watcher(place, 0), Watcher(place, 1)
        until(lambda: first._out.stat().st_size > 0 and second._out.stat().st_size > 0, "started")
        assert first.sees == {}
        run("ip", "-n", place.name(1), "address", "add", "10.99.0.77/24", "dev", "eth0")
        until(lambda: first.sees == {"n1": "10.99.0.77"}, "the late one is seen")
        until(lambda: second.sees == {"n0": place.address(0)}, "and sees")
        run("ip", "-n", place.name(1), "address", "flush", "dev", "eth0")
        run("ip", "-n", place.name(1), "address", "add", "10.99.0.88/24", "dev", "eth0")
        until(lambda: first.sees == {"n1": "10.99.0.88"}, "the moved one is seen where it is now")
