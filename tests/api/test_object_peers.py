"""What nodes ask each other of the object store, through the real application."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.plugins import object as plugin
from node.plugins.object.store.contract import Query
from node.plugins.object.store.data_disk import make_mark
from node.plugins.object.store.host import DiskHost
from node.plugins.object.store.index_ops import GONE, OK, PutOp
from node.plugins.object.store.layout import Disk, DiskMap, Layout, NodePlace
from node.plugins.object.store.map_file import SOCKET_FILE, MapFile, store_directory, write_map
from node.plugins.object.store.open import Opened
from node.plugins.object.store.record import Record, Said, pack
from node.plugins.object.store.remote_access import RemoteAccess
from node.plugins.object.store.server import StoreServer
from node.sdk import BadRequest, Frozen, NotFound, Unavailable
from node.testing.cloud import Cloud
from node.testing.members import Member, MemberNetwork
from tests.probe.object_node import get, put

BIG = bytes(range(256)) * 12_000


class Nodes(Frozen):
    members: list[Member]
    network: MemberNetwork
    opened: list[Opened]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    cloud = Cloud(tmp_path, [plugin])
    network = MemberNetwork(cloud)
    names = ["node-1", "node-2", "node-3"]
    members = [network.add(name) for name in names]
    disks = []
    for member in members:
        path = member.control.config.state_dir / "d"
        make_mark(path, f"disk-{member.id}")
        disks.append(Disk(id=f"disk-{member.id}", node_id=member.id, path=str(path)))
    layout = Layout(number=1, disks=tuple(disks))
    closing = []
    opened = []
    for member in members:
        directory = store_directory(member.control.config.state_dir)
        places = {name: NodePlace(address="x", port=1, name=name) for name in names}
        write_map(directory, DiskMap(node_id=member.id, layouts=(layout,), nodes=places))
        host = DiskHost(MapFile(directory), cloud.clock)
        host.refresh()
        server = StoreServer(directory / SOCKET_FILE, host, lambda d, q, a: [d, q, a])
        server.start()
        closing += [server.stop, host.close]
        state_dir = member.control.config.state_dir
        opened.append(Opened(state_dir, member.control.data_port, cloud.clock))
    yield Nodes(members=members, network=network, opened=opened)
    for close in closing:
        close()


def test_what_one_node_stores_all_nodes_have(nodes: Nodes) -> None:
    stores = [opened.store for opened in nodes.opened]
    for size in (0, 10, 70_000, len(BIG)):
        put(stores[0], "c", f"o{size}", BIG[:size])
        assert [get(store, "c", f"o{size}") for store in stores] == [BIG[:size]] * 3
    names = [[i.name for i in s.list("c", Query()).items if not isinstance(i, str)] for s in stores]
    assert names == [["o0", "o10", f"o{len(BIG)}", "o70000"]] * 3
    assert {store.usage(["c"])["c"].objects for store in stores} == {4}
    for name in names[0]:
        stores[1].delete("c", name)
        assert [get(store, "c", name) for store in stores] == [None] * 3


def test_one_dead_node_is_not_missed(nodes: Nodes) -> None:
    stores = [opened.store for opened in nodes.opened]
    put(stores[0], "c", "small", b"1")
    put(stores[0], "c", "big", BIG)
    nodes.network.dead.add("node-3")
    assert [get(store, "c", "big") for store in stores[:2]] == [BIG] * 2
    put(stores[1], "c", "small", b"2")
    put(stores[1], "c", "big", BIG[::-1])
    assert [get(store, "c", "small") for store in stores[:2]] == [b"2"] * 2
    nodes.network.dead.clear()
    assert get(stores[2], "c", "small") == b"2"
    assert get(stores[2], "c", "big") == BIG[::-1]
    nodes.network.dead |= {"node-2", "node-3"}
    with pytest.raises(Unavailable):
        get(stores[0], "c", "small")
    with pytest.raises(Unavailable):
        put(stores[0], "c", "small", b"3")


def test_each_question_is_answered_by_the_disk_that_is_asked(nodes: Nodes) -> None:
    node = RemoteAccess(nodes.members[0].control.data_port, "node-2")
    record = Record(
        container_id="c", name="n", version_id="null", stamp=5, meta_stamp=5, size_bytes=3,
        data="i:aa:3", body=pack(Said(modified_at=1)),
    )  # fmt: skip
    written = node.write(["disk-node-2"], [PutOp(record=record, blob=b"abc")], 1)
    assert [result.state for result in written["disk-node-2"]] == [OK]
    assert node.records("disk-node-2", "c", "n") == [record]
    assert node.latest("disk-node-2", "c", "n") == record
    assert node.latest("disk-node-2", "c", "other") is None
    assert node.blob("disk-node-2", "aa") == b"abc"
    assert node.blob("disk-node-2", "bb") is None
    assert node.usage("disk-node-2", ["c"])[0][0].size_bytes == 3
    assert node.ask("disk-node-2", "what", {"a": 1}) == ["disk-node-2", "what", {"a": 1}]
    with pytest.raises(Unavailable):
        node.records("disk-node-1", "c", "n")
    assert GONE != OK


def test_a_fragment_is_named_like_one(nodes: Nodes) -> None:
    member = nodes.members[1]
    for name in ("x", "x.y", ".1", "..1"):
        path = f"/object-peers/v1/fragments/disk-node-2/{name}"
        assert member.request("PUT", path, body=b"x", peer="node-1").status == BadRequest.status
        answer = member.request("GET", f"{path}?offset=0&length=1", peer="node-1")
        assert answer.status == BadRequest.status
    node = RemoteAccess(nodes.members[0].control.data_port, "node-2")
    with pytest.raises(NotFound):
        node.open_fragment("disk-node-2", "abc.1").read(0, 10)


def test_only_nodes_are_served(nodes: Nodes) -> None:
    member = nodes.members[1]
    for path in ("write", "ask", "question"):
        assert member.request("POST", f"/object-peers/v1/{path}", body=b"\x80").status == 404
        bad = member.request("POST", f"/object-peers/v1/{path}", body=b"\x80", peer="node-1")
        assert bad.status == BadRequest.status
        stranger = member.request("POST", f"/object-peers/v1/{path}", body=b"x", peer="node-9")
        assert stranger.status == 403
