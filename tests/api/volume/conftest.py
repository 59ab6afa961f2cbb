"""A cloud of one node with block storage over the driver of tests, and images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.plugins import block, image
from node.plugins.block.driver_choice import driver_named
from node.plugins.block.drivers.memory import MemoryDriver
from node.plugins.block.tables import Volume
from node.sdk import NodeRow, Reconciler, insert
from node.testing import Answer, Cloud

BASE = "/volume/v3"
PAST = {"OpenStack-API-Version": "volume 3.71"}


def at(version: str) -> dict[str, str]:
    """Return the header that asks for a microversion."""
    return {"OpenStack-API-Version": f"volume {version}"}


class World:
    """The cloud, what reconciles it, and a caller."""

    def __init__(self, directory: Path) -> None:
        text = (
            f"[node]\nname = testnode\nstate_dir = {directory}\n"
            "[block]\ndriver = memory\nbackup_chunk_kib = 64\n"
        )
        self.cloud = Cloud(directory, [block, image], config_text=text)
        self.cloud.commit(
            insert(NodeRow(id="node-1", name="vm", address="192.0.2.1", created_at=1))
        )
        self.reconcilers: list[Reconciler] = list(block.reconcilers(self.cloud.control))
        driver = driver_named(self.cloud.control, "memory")
        assert isinstance(driver, MemoryDriver)
        self.driver = driver
        self.token = self.cloud.token()
        self.admin = self.cloud.token(roles=("admin",))

    def settle(self) -> None:
        """Let the node do what the rows ask for."""
        for _round in range(3):
            for reconciler in self.reconcilers:
                self.cloud.reconcile(reconciler)

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """Ask as the member of the project."""
        self.cloud.clock.advance(1.0)
        more.setdefault("token", self.token)
        return self.cloud.request(method, f"{BASE}{path}", json=body, **more)

    def made(self, **fields: Any) -> dict[str, Any]:
        """Create a volume and let it be made; return what is shown of it."""
        answer = self.call("POST", "/volumes", {"volume": {"size": 1, **fields}})
        assert answer.status == 202, answer.body
        self.settle()
        return self.shown(answer.json["volume"]["id"])

    def shown(self, volume_id: str, **more: Any) -> dict[str, Any]:
        """Return what is shown of a volume."""
        answer = self.call("GET", f"/volumes/{volume_id}", **more)
        assert answer.status == 200, answer.body
        volume: dict[str, Any] = answer.json["volume"]
        return volume

    def act(self, volume_id: str, action: str, value: Any = None, **more: Any) -> Answer:
        """Post an action of a volume."""
        return self.call("POST", f"/volumes/{volume_id}/action", {action: value}, **more)

    def row(self, volume_id: str) -> Volume:
        """Return the row of a volume."""
        return self.cloud.db.must(Volume, volume_id)

    def write(self, volume_id: str, offset: int, data: bytes) -> None:
        """Write into a volume as a guest would."""
        self.driver.volumes[volume_id].write(offset, data)

    def read(self, volume_id: str, offset: int, length: int) -> bytes:
        """Read from a volume."""
        return self.driver.volumes[volume_id].read(offset, length)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.cloud.machine.close()
