"""Image data on several nodes: copies, downloads through any of them, nodes that die, deletion everywhere."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node import sdk
from node.plugins import image as image_plugin
from node.plugins.image import copy_rules
from node.plugins.image.copy_sync import ImageCopySync
from node.plugins.image.image_sync import ImageSync
from node.plugins.image.tables import Image, ImageCopy
from node.sdk import NodeRow, patch
from node.testing import Cloud
from node.testing.members import Member, MemberNetwork

OCTETS = {"Content-Type": "application/octet-stream"}
DATA = os.urandom(3 * (1 << 20) + 17)
NODES = ("node-1", "node-2", "node-3")


class World:
    """Three nodes and what a test does with them."""

    def __init__(self, directory: Path) -> None:
        self.cloud = Cloud(directory, [image_plugin])
        # files have the machine's times
        self.cloud.clock.advance(time.time() - self.cloud.clock.now_us() / 1e6)
        self.network = MemberNetwork(self.cloud)
        self.nodes = [self.network.add(name) for name in NODES]
        self.token = self.cloud.token()

    def node(self, node_id: str) -> Member:
        return self.network.members[node_id]

    def register(self) -> str:
        body = {"name": "i", "disk_format": "raw", "container_format": "bare"}
        answer = self.nodes[0].post("/image/v2/images", json=body, token=self.token)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    def uploaded(self, through: Member | None = None) -> str:
        image_id = self.register()
        path = f"/image/v2/images/{image_id}/file"
        answer = (through or self.nodes[0]).put(path, body=DATA, token=self.token, headers=OCTETS)
        assert answer.status == 204, answer.body
        now = self.cloud.clock.now_us() / 1e6  # files have the real time, which is not this world's
        for path in self.cloud.directory.glob(f"*/images/{image_id}.data"):
            os.utime(path, (now, now))
        return image_id

    def download(self, node: Member, image_id: str, **headers: str) -> Any:
        return node.get(f"/image/v2/images/{image_id}/file", token=self.token, headers=headers)

    def look(self, *nodes: Member) -> None:
        """Let nodes do what they have to do, twice over: the first waits for the last."""
        for node in (nodes or self.nodes) * 2:
            if node.id not in self.network.dead:
                self.cloud.reconcile(ImageCopySync(node.control))
                self.cloud.reconcile(ImageSync(node.control))

    def holders(self, image_id: str) -> set[str]:
        return {copy.node_id for copy in self.cloud.db.rows(ImageCopy, image_id=image_id)}

    def files(self, node_id: str) -> list[str]:
        directory = self.cloud.directory / node_id / "images"
        return sorted(path.suffix for path in directory.glob("*.*")) if directory.exists() else []

    def set_state(self, node_id: str, state: str) -> None:
        now = self.cloud.clock.now_us()
        self.cloud.commit(patch(NodeRow, node_id, state=state, updated_at=now))
        (self.network.dead.discard if state == "up" else self.network.dead.add)(node_id)

    def delete(self, image_id: str) -> None:
        path = f"/image/v2/images/{image_id}"
        assert self.nodes[0].delete(path, token=self.token).status == 204


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_upload_is_copied_to_a_second_node_and_to_no_third(world: World) -> None:
    image_id = world.uploaded()
    assert world.holders(image_id) == {"node-1"}
    world.look()
    held = world.holders(image_id)
    assert len(held) == 2
    for node_id in held:
        path = world.cloud.directory / node_id / "images" / f"{image_id}.data"
        assert path.read_bytes() == DATA
        assert path.stat().st_mode & 0o777 == 0o600


def test_it_can_be_downloaded_through_every_node(world: World) -> None:
    image_id = world.uploaded(world.node("node-2"))
    for node in world.nodes:
        whole = world.download(node, image_id)
        assert (whole.status, whole.body) == (200, DATA)
        assert whole.headers["content-length"] == str(len(DATA))
        part = world.download(node, image_id, Range="bytes=1000000-2000000")
        assert (part.status, part.body) == (206, DATA[1_000_000:2_000_001])
        assert part.headers["content-range"] == f"bytes 1000000-2000000/{len(DATA)}"
        assert world.download(node, image_id, Range="bytes=9999999-").status == 416
    assert {path for _node, path in world.network.asked} == {f"/image/v2/copies/{image_id}"}


def test_a_download_survives_the_death_of_the_node_that_it_comes_from(world: World) -> None:
    image_id = world.uploaded()
    world.look()
    third = next(node for node in world.nodes if node.id not in world.holders(image_id))
    first = copy_rules.sources(
        image_id,
        world.cloud.db.rows(NodeRow),
        world.cloud.db.rows(ImageCopy, image_id=image_id),
        third.id,
    )[0]
    world.network.cut_after[first.id] = 1_500_000
    assert world.download(third, image_id).body == DATA
    for node_id in world.holders(image_id):
        world.set_state(node_id, "down")
    answer = world.download(third, image_id)
    assert answer.status == 503
    assert b"up" in answer.body


def test_a_fetch_goes_on_where_it_was_cut_off(world: World) -> None:
    image_id = world.uploaded()
    second = world.node("node-2")
    want(second, image_id)
    sync = ImageCopySync(second.control)
    world.network.cut_after["node-1"] = 1 << 21
    with pytest.raises(sdk.Unavailable):
        sync.reconcile(image_id)
    part = world.cloud.directory / second.id / "images" / f"{image_id}.fetch"
    assert part.stat().st_size == 1 << 21
    sync.reconcile(image_id)
    assert not part.exists()
    assert second.id in world.holders(image_id)


def want(node: Member, image_id: str) -> None:
    """Have a node need the image for a server."""
    with pytest.raises(sdk.Unavailable, match="on its way"):
        image_plugin.images().open(node.control, image_id)
    assert node.control.woken[-1] == ("image-copies", image_id)


def test_a_node_that_needs_an_image_has_it_fetched(world: World) -> None:
    image_id = world.uploaded()
    world.look()
    third = next(node for node in world.nodes if node.id not in world.holders(image_id))
    want(third, image_id)
    world.look(third)
    source = image_plugin.images().open(third.control, image_id)
    assert source is not None
    assert source.path.read_bytes() == DATA
    assert world.files(third.id) == [".data"]


def test_a_copy_beyond_the_wished_ones_goes_when_it_was_not_used_for_long(world: World) -> None:
    image_id = world.uploaded()
    for node in world.nodes[1:]:
        want(node, image_id)
    world.look()
    assert world.holders(image_id) == set(NODES)
    old = world.cloud.clock.now_us() / 1e6 - 25 * 3600
    for node in world.nodes:
        path = world.cloud.directory / node.id / "images" / f"{image_id}.data"
        os.utime(path, (old, old))
    world.look()
    assert len(world.holders(image_id)) == 2
    assert sorted(len(world.files(node_id)) for node_id in NODES) == [0, 1, 1]


def test_damaged_data_is_not_kept(world: World) -> None:
    image_id = world.uploaded()
    path = world.cloud.directory / "node-1" / "images" / f"{image_id}.data"
    path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    second = world.node("node-2")
    want(second, image_id)
    with pytest.raises(sdk.Unavailable, match="damaged"):
        ImageCopySync(second.control).reconcile(image_id)
    assert world.holders(image_id) == {"node-1"}
    assert ".data" not in world.files("node-2")


def test_copies_of_a_node_that_stays_away_are_made_again(world: World) -> None:
    image_id = world.uploaded()
    world.look()
    lost = (world.holders(image_id) - {"node-1"}).pop()
    world.set_state(lost, "down")
    world.look()
    assert len(world.holders(image_id)) == 2
    world.cloud.clock.advance(301)
    world.look()
    assert world.holders(image_id) == set(NODES)


@pytest.mark.parametrize("absent", ["node-1", "second"])
def test_deletion_waits_for_the_node_that_is_down(world: World, absent: str) -> None:
    image_id = world.uploaded()
    world.look()
    second = (world.holders(image_id) - {"node-1"}).pop()
    down = second if absent == "second" else absent
    world.set_state(down, "down")
    shown = f"/image/v2/images/{image_id}"
    up = next(node for node in world.nodes if node.id != down)
    assert up.delete(shown, token=world.token).status == 204
    world.look()
    assert up.get(shown, token=world.token).status == 404
    assert world.files(down) == [".data"]
    assert [n for n in NODES if n != down and world.files(n)] == []
    world.set_state(down, "up")
    world.look()
    assert world.files(down) == []
    assert world.cloud.db.rows(Image) == []
    assert world.cloud.db.rows(ImageCopy) == []


def test_deletion_does_not_wait_for_a_node_that_was_removed_from_the_cluster(world: World) -> None:
    image_id = world.uploaded()
    world.look()
    world.network.dead.add("node-1")
    world.cloud.commit(sdk.delete(NodeRow, "node-1"))
    world.nodes = world.nodes[1:]
    world.delete(image_id)
    world.look()
    assert world.cloud.db.rows(Image) == []
    assert world.cloud.db.rows(ImageCopy) == []


def test_staged_data_is_imported_through_another_node(world: World) -> None:
    image_id = world.register()
    path = f"/image/v2/images/{image_id}"
    first, second = world.nodes[:2]
    answer = first.put(f"{path}/stage", body=DATA, token=world.token, headers=OCTETS)
    assert answer.status == 204
    body = {"method": {"name": "glance-direct"}}
    assert second.post(f"{path}/import", json=body, token=world.token).status == 202
    assert world.download(second, image_id).body == DATA
    assert world.holders(image_id) == {"node-2"}
    world.look(first)
    assert ".staged" not in world.files("node-1")


def test_a_file_from_before_there_were_copies_is_adopted(world: World) -> None:
    image_id = world.uploaded()
    world.cloud.commit(sdk.delete(ImageCopy, f"{image_id}/node-1"))
    assert world.download(world.node("node-1"), image_id).body == DATA
    world.look()
    assert len(world.holders(image_id)) == 2


def test_peers_are_served_nothing_but_whole_images(world: World) -> None:
    image_id = world.register()
    ask: Callable[..., Any] = world.node("node-1").get
    for path in (f"/image/v2/copies/{image_id}", f"/image/v2/staged/{image_id}"):
        assert ask(path, peer="node-2").status == 404
        assert ask(path, peer="stranger").status in (403, 404)
        assert ask(path, token=world.token).status == 404
    path = f"/image/v2/images/{image_id}/file"
    world.node("node-1").put(path, body=DATA, token=world.token, headers=OCTETS)
    assert ask(f"/image/v2/copies/{image_id}", peer="node-2").body == DATA
    assert ask(f"/image/v2/copies/{image_id}", peer="stranger").status == 403
    assert ask(path, peer="node-2").status == 404
