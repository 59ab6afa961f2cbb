"""Healing among several stores: what was lost, missed, misplaced or rotten comes back, and litter goes."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.errors import Unavailable
from node.plugins.object.store.contract import Entry, Facts, Query, Store
from node.plugins.object.store.layout import Layout
from node.plugins.object.store.scheme import extents
from node.testing.clock import FakeClock
from node.testing.object_site import ObjectSite
from node.types import Micros

BIG = bytes(range(256)) * 9000

Make = Callable[..., ObjectSite]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[ObjectSite] = []

    def build(**fields: int) -> ObjectSite:
        made.append(ObjectSite(tmp_path / "site", FakeClock(), **fields))
        return made[0]

    yield build
    for site in made:
        site.close()


def put(store: Store, name: str, data: bytes, policy: str = "", **facts: object) -> Entry:
    with store.writer("c", name, policy=policy) as writer:
        writer.write(data)
        return writer.commit(Facts(etag="e", **facts))  # type: ignore[arg-type]


def get(store: Store, name: str) -> bytes | None:
    entry = store.head("c", name)
    return None if entry is None else b"".join(store.read(entry))


def names(store: Store) -> list[str]:
    return [i.name for i in store.list("c", Query()).items if not isinstance(i, str)]


def fragments(site: ObjectSite) -> list[Path]:
    return sorted(site.directory.glob("*/*/fragments/*/*"))


def heal(site: ObjectSite) -> None:
    for node in site.nodes:
        if node.id not in site.down:
            node.healer.follower.run()
    for node in site.nodes:
        if node.id not in site.down:
            node.healer.repairer.run()


def test_a_node_that_was_away_learns_what_it_missed(make: Make) -> None:
    site = make(nodes=3)
    stores = [node.store for node in site.nodes]
    put(stores[0], "old", b"1")
    put(stores[0], "dead", b"1")
    site.down.add("node-2")
    put(stores[0], "old", b"2")
    put(stores[1], "new", BIG)
    put(stores[1], "small", b"3")
    stores[0].delete("c", "dead")
    site.down.clear()
    heal(site)
    site.down |= {"node-0", "node-1"}
    with pytest.raises(Unavailable):
        get(stores[2], "old")
    local = site.nodes[2].local
    disk = site.layouts[0].disks[2].id
    found = {i.name for i in local.list(disk, "c", Query()).items if not isinstance(i, str)}
    assert found == {"old", "new", "small"}
    small = local.latest(disk, "c", "small")
    assert small is not None
    assert local.blob(disk, extents(small.data)[0].id) == b"3"
    assert len(fragments(site)) == 3


@pytest.mark.parametrize(("policy", "count"), [("", 3), ("coded", 6)])
def test_lost_and_rotten_fragments_are_made_anew(make: Make, policy: str, count: int) -> None:
    site = make(nodes=6)
    store = site.nodes[0].store
    put(store, "o", BIG, policy)
    files = fragments(site)
    assert len(files) == count
    whole = {path: path.read_bytes() for path in files}
    files[0].unlink()
    files[1].write_bytes(whole[files[1]][:1000] + b"x" + whole[files[1]][1001:])
    assert get(store, "o") == BIG
    for node in site.nodes:
        node.healer.scrubber.run()
    heal(site)
    assert {path: path.read_bytes() for path in fragments(site)} == whole
    assert sum(node.healer.repairer.mended for node in site.nodes) == 2


def test_coded_objects_survive_as_many_losses_as_there_is_parity(make: Make) -> None:
    site = make(nodes=6)
    put(site.nodes[0].store, "o", BIG, "coded")
    for path in fragments(site)[:2]:
        path.unlink()
    assert get(site.nodes[1].store, "o") == BIG
    entry = site.nodes[2].store.head("c", "o")
    assert entry is not None
    assert b"".join(site.nodes[2].store.read(entry, 1_000_000, 200_000)) == BIG[1_000_000:1_200_000]
    fragments(site)[0].unlink()
    with pytest.raises(Unavailable):
        get(site.nodes[1].store, "o")


def test_rot_in_an_index_is_mended_from_another_replica(make: Make) -> None:
    site = make(nodes=1, disks=3)
    node = site.nodes[0]
    entry = put(node.store, "o", b"small")
    blob_id = extents(entry.data)[0].id
    disk_id, committer = next(iter(node.host.disks().items()))
    committer.call(lambda db: [db.execute("UPDATE blobs SET data=?", (b"rot",)), None][1])
    assert node.local.blob(disk_id, blob_id) is None
    assert get(node.store, "o") == b"small"
    node.healer.scrubber.run()
    assert node.local.blob(disk_id, blob_id) == b"small"
    assert node.healer.scrubber.rotten == 1


def test_litter_goes_and_what_is_needed_stays(make: Make) -> None:
    site = make(nodes=3)
    node = site.nodes[0]
    put(node.store, "kept", BIG)
    put(node.store, "o", BIG)
    put(node.store, "o", b"other")
    put(node.store, "o", b"another")
    part = put(node.store, "part", BIG)
    node.store.compose("c", "joined", [part], Facts(etag="j"))
    writer = node.store.writer("c", "died", size_bytes=len(BIG))
    writer.write(BIG)
    writer._sink.finish()  # type: ignore[attr-defined]
    assert len(fragments(site)) == 12
    for each in site.nodes:
        each.healer.sweeper.run()
    assert len(fragments(site)) == 12  # not yet: somebody may be reading
    site.clock.advance(300)
    for each in site.nodes:
        each.healer.sweeper.run()
    assert len(fragments(site)) == 9
    site.clock.advance(10_000)
    for each in site.nodes:
        each.healer.sweeper.look_through()
    assert len(fragments(site)) == 6
    assert get(node.store, "kept") == BIG
    assert get(node.store, "joined") == BIG
    assert get(node.store, "o") == b"another"
    disk_id = site.layouts[0].disks[0].id
    count = site.nodes[0].answers.reader(disk_id).db.execute("SELECT count(*) FROM blobs")
    assert count.fetchone() == (1,)


def test_what_has_expired_is_removed(make: Make) -> None:
    site = make(nodes=1)
    node = site.nodes[0]
    put(node.store, "o", BIG, expires_at=Micros(site.clock.now_us() + 10**6))
    put(node.store, "p", b"1", expires_at=Micros(site.clock.now_us() + 10**6))
    site.clock.advance(2)
    assert names(node.store) == []
    site.clock.advance(100)
    node.healer.sweeper.run()
    site.clock.advance(300)
    node.healer.sweeper.run()
    assert fragments(site) == []
    db = node.answers.reader(site.layouts[0].disks[0].id).db
    assert db.execute("SELECT count(*) FROM entries").fetchone() == (0,)
    assert node.store.usage(["c"])["c"].objects == 0


def test_a_new_layout_takes_over_without_a_gap(make: Make) -> None:
    site = make(nodes=4)
    first = site.layouts[0].disks[:1]
    site.layouts = (Layout(number=2, disks=first),)
    site.publish()
    refresh(site)
    store = site.nodes[0].store
    for number in range(30):
        put(store, f"o{number:02}", BIG if number % 10 == 0 else b"%d" % number)
    store.delete("c", "o05")
    every = tuple(node_disk for node_disk in all_disks(site))
    site.layouts = (Layout(number=2, disks=first), Layout(number=3, disks=every))
    site.publish()
    refresh(site)
    put(site.nodes[1].store, "o01", b"during")
    assert get(site.nodes[3].store, "o01") == b"during"
    heal(site)
    heal(site)
    assert [n.healer.follower.synced(d.id) for n, d in zip(site.nodes, every, strict=True)] == [3] * 4
    site.layouts = site.layouts[1:]
    site.publish()
    refresh(site)
    site.down.add("node-0")
    heal(site)
    left = [n for n in range(30) if n != 5]
    for node in site.nodes[1:]:
        assert names(node.store) == [f"o{number:02}" for number in left]
        assert get(node.store, "o10") == BIG
        assert get(node.store, "o01") == b"during"
        assert get(node.store, "o02") == b"2"


def test_a_writer_that_knows_an_old_layout_only_is_refused(make: Make) -> None:
    site = make(nodes=2)
    old = site.nodes[1].map_file.places()
    disks = all_disks(site)
    site.layouts = (*site.layouts, Layout(number=2, disks=tuple(disks)))
    site.publish()
    refresh(site)
    results = site.nodes[0].local.write([disks[0].id], [], old.map.newest)
    assert results[disks[0].id] == []
    put(site.nodes[1].store, "o", b"1")
    assert site.nodes[0].host.newest == 2


def test_a_lost_disk_is_replaced(make: Make) -> None:
    site = make(nodes=1, disks=4)
    node = site.nodes[0]
    for number in range(20):
        put(node.store, f"o{number:02}", BIG if number % 5 == 0 else b"%d" % number)
    disks = all_disks(site)
    lost = disks[1]
    shutil.rmtree(lost.path)
    refresh(site)
    assert len(names(node.store)) == 20
    put(node.store, "o03", b"while it is gone")
    rest = tuple(disk for disk in disks if disk is not lost)
    site.layouts = (site.layouts[0], Layout(number=2, disks=rest))
    site.publish()
    refresh(site)
    heal(site)
    assert {node.healer.follower.synced(disk.id) for disk in rest} == {2}
    site.layouts = site.layouts[1:]
    site.publish()
    refresh(site)
    heal(site)
    assert node.healer.repairer.lacking == 0
    for number in range(0, 20, 5):
        name = f"o{number:02}"
        assert get(node.store, name) == BIG
    assert get(node.store, "o03") == b"while it is gone"
    site.clock.advance(10_000)
    node.healer.sweeper.look_through()
    assert len(fragments(site)) == 12


def test_a_disk_that_was_away_for_long_brings_nothing_back(make: Make) -> None:
    site = make(nodes=3)
    for node in site.nodes:
        node.host.note_alive()
    put(site.nodes[0].store, "dead", b"1")
    put(site.nodes[0].store, "kept", b"2")
    away = site.nodes[2]
    away.close()
    site.down.add(away.id)
    site.nodes[0].store.delete("c", "dead")
    site.clock.advance(4 * 86400)
    for node in site.nodes[:2]:  # as if tombstones had been forgotten meanwhile
        for committer in node.host.disks().values():
            committer.call(lambda db: db.execute("DELETE FROM tombs").rowcount)
    away.open()
    site.down.clear()
    disk = site.layouts[0].disks[2].id
    with pytest.raises(Unavailable):
        away.local.records(disk, "c", "dead")
    assert names(away.store) == ["kept"]
    heal(site)
    assert [record.name for record in away.local.records(disk, "c", "kept")] == ["kept"]
    assert names(away.store) == ["kept"]
    site.down.add("node-0")
    assert get(away.store, "dead") is None
    assert get(away.store, "kept") == b"2"


def all_disks(site: ObjectSite) -> list:  # type: ignore[type-arg]
    from node.plugins.object.store.layout import Disk

    return [
        Disk(id=f"{node.id}-{path.name}", node_id=node.id, path=str(path))
        for node in site.nodes
        for path in sorted(node.directory.glob("disk-*"))
    ]


def refresh(site: ObjectSite) -> None:
    for node in site.nodes:
        node.host.refresh()
