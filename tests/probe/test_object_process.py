"""The store process of one node: killed at any moment, nothing that was acknowledged is lost or torn."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.errors import NodeError
from node.plugins.object.store.contract import Query, Store
from node.plugins.object.store_commands import object_group
from node.plugins.object.store_status import store_health, store_metrics
from tests.probe.object_node import ObjectNode, get, put, until

SIZES = (10, 5_000, 65_536, 200_000, 1_500_000)


pytestmark = [pytest.mark.probe, pytest.mark.slow]


@pytest.fixture(params=[1, 3], ids=["one-disk", "three-disks"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectNode]:
    made = ObjectNode(tmp_path, disks=request.param)
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Client:
    """Writes, overwrites and deletes its own names, and remembers what may be there."""

    def __init__(self, store: Store, number: int, seed: int) -> None:
        self._store = store
        self._number = number
        self._random = random.Random(seed * 1000 + number)
        self.possible: dict[str, list[bytes | None]] = {}
        """By name: what was acknowledged last, then all that was tried since."""
        self.acknowledged = 0
        self.refused = 0

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            name = f"{self._number}-{self._random.randrange(12)}"
            value = None
            if self._random.random() < 0.8:
                size = self._random.choice(SIZES)
                value = self._random.randbytes(16) * (size // 16 + 1)
            before = self.possible.get(name, [None])
            self.possible[name] = [*before, value]
            try:
                if value is None:
                    self._store.delete("c", name)
                else:
                    put(self._store, "c", name, value)
            except NodeError:
                self.refused += 1
                time.sleep(0.02)
                continue
            self.acknowledged += 1
            self.possible[name] = [value]

    def check(self) -> None:
        for name, values in self.possible.items():
            found = until(lambda n=name: [get(self._store, "c", n)], "it cannot be read")[0]
            assert found in values, f"{name} is none of {len(values)} possible values"


def test_a_process_that_is_killed_again_and_again_loses_nothing(node: ObjectNode) -> None:
    seed = int(os.environ.get("HEDGEROW_PROBE_SEED", "1"))
    clients = [Client(node.store, number, seed) for number in range(4)]
    stop = threading.Event()
    threads = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
    for thread in threads:
        thread.start()
    chance = random.Random(seed)
    try:
        for _round in range(4):
            before = sum(client.acknowledged for client in clients)
            until(
                lambda b=before: sum(client.acknowledged for client in clients) > b + 20,
                "nothing is acknowledged any more",
            )
            time.sleep(chance.random() * 0.2)
            node.kill()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for client in clients:
        client.check()
    there = {name for c in clients for name in c.possible if get(node.store, "c", name) is not None}
    listed = {item.name for item in node.store.list("c", Query()).items if not isinstance(item, str)}
    assert listed == there
    assert node.store.usage(["c"])["c"].objects == len(there)


WRITER = """
import sys
from pathlib import Path
from node.clock import SystemClock
from node.plugins.object.store.open import open_store
from node.sdk import NoDataPort
from tests.probe.object_node import put
store = open_store(Path(sys.argv[1]), NoDataPort(), SystemClock())
number = 0
while True:
    number += 1
    size = (10, 70_000, 3_000_000)[number % 3]
    put(store, "w", f"n{number}", bytes([number % 251]) * size)
    print(number, flush=True)
"""


def test_a_client_that_is_killed_leaves_whole_objects_and_no_litter(node: ObjectNode) -> None:
    for _round in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(node.directory)],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert process.stdout is not None
        try:
            last = 0
            while last < 30:
                last = int(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGKILL)
        rest = [int(line) for line in process.stdout]
        process.wait()
        for number in range(1, max([last, *rest]) + 1):
            size = (10, 70_000, 3_000_000)[number % 3]
            assert get(node.store, "w", f"n{number}") == bytes([number % 251]) * size
    node.kill()
    until(lambda: node.pid, "the store process does not come back")
    assert not list(node.directory.glob("d*/staged/*"))


def test_commands_show_and_steer_the_store(node: ObjectNode) -> None:
    put(node.store, "c", "o", b"1")
    config = str(node.directory / "hedgerow.ini")

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(object_group, [*arguments, "--config", config])
        assert done.exit_code == 0, done.output
        return done.output

    shown = run("status")
    assert "replicated-3 on" in shown
    assert str(node.directory / "d0") in shown
    assert "scrub is paused" in run("pause", "scrub")
    line = next(line for line in run("status").splitlines() if line.startswith("  scrub"))
    assert "paused" in line
    assert "healing" in str(store_health(node.cloud.control))
    run("resume", "scrub")
    run("run", "scrub")
    until(lambda: "runs 0" not in run("status").split("scrub")[1], "the scrubber does not run")
    until(lambda: store_health(node.cloud.control)[0][1], "it is not healthy")
    assert store_metrics(node.cloud.control)["object_store_up"] == 1.0
    refused = CliRunner().invoke(object_group, ["pause", "nothing", "--config", config])
    assert refused.exit_code == 1
    assert "There is no task nothing" in refused.output
