"""Where things are: frozen, fair, spread, and stable when disks come and go."""

from collections import Counter

import pytest

from node.plugins.object.store.layout import Disk, DiskMap, Layout, Places, PolicySpec, ranked
from node.plugins.object.store.layout_rules import is_done, next_layout, wanted_disks
from node.plugins.object.store.scheme import (
    coded,
    copies,
    extents,
    file_ids,
    fitting,
    is_inline,
    parse,
    pointer,
)
from node.plugins.object.store_status import tolerance
from node.plugins.object.tables import DataDisk, ObjectLayout
from node.sdk import NodeRow


def disks(count: int, *, nodes: int = 0, weight: float = 1.0) -> tuple[Disk, ...]:
    return tuple(
        Disk(id=f"disk-{n}", node_id=f"node-{n % (nodes or count)}", weight=weight)
        for n in range(count)
    )


def places(some: tuple[Disk, ...]) -> Places:
    return Places(DiskMap(node_id="node-0", layouts=(Layout(number=1, disks=some),)))


def test_the_hash_is_frozen() -> None:
    # A change here would make every byte of every cluster seem to be in the wrong place.
    order = [[d.id for d in ranked(disks(5), key)] for key in ("a", "b", "a container's id")]
    assert order == GOLDEN
    homes = places(disks(7)).fragment_homes("0123456789abcdef", coded(4, 2))
    assert [(number, disk.id) for number, disk in homes] == GOLDEN_HOMES


def test_shares_follow_weights() -> None:
    some = (*disks(3), Disk(id="big", node_id="node-9", weight=3.0))
    first = Counter(ranked(some, f"key {n}")[0].id for n in range(6000))
    assert first["big"] == pytest.approx(3000, rel=0.1)
    for n in range(3):
        assert first[f"disk-{n}"] == pytest.approx(1000, rel=0.15)


@pytest.mark.parametrize("scheme", [copies(3), coded(4, 2)], ids=["copies", "coded"])
def test_a_new_disk_takes_its_share_and_no_more_moves(scheme: object) -> None:
    before, after = places(disks(9)), places(disks(10))
    moved = total = 0
    for n in range(500):
        old = {(k, d.id) for k, d in before.fragment_homes(f"key {n}", scheme)}  # type: ignore[arg-type]
        new = {(k, d.id) for k, d in after.fragment_homes(f"key {n}", scheme)}  # type: ignore[arg-type]
        moved += len(old - new)
        total += len(old)
    assert 0.07 < moved / total < 0.16


def test_copies_are_apart_where_they_can_be() -> None:
    for n in range(200):
        some = [disk for _k, disk in places(disks(9, nodes=3)).fragment_homes(f"{n}", copies(3))]
        assert len({disk.node_id for disk in some}) == 3
        some = [disk for _k, disk in places(disks(6, nodes=2)).fragment_homes(f"{n}", coded(4, 2))]
        assert Counter(disk.node_id for disk in some).most_common()[0][1] == 3
        assert len({disk.id for disk in some}) == 6


def test_a_drained_disk_takes_nothing() -> None:
    some = (*disks(3), Disk(id="old", node_id="node-0", weight=0.0))
    assert all("old" not in [d.id for d in ranked(some, f"{n}")] for n in range(50))


@pytest.mark.parametrize(
    ("policy", "count", "scheme", "lose"),
    [
        (("replicated", 3, 0), 1, "r3", 0),
        (("replicated", 3, 0), 2, "r3", 1),
        (("replicated", 3, 0), 9, "r3", 2),
        (("ec", 2, 1), 1, "r2", 0),
        (("ec", 2, 1), 2, "r2", 1),
        (("ec", 2, 1), 3, "e2.1", 1),
        (("ec", 4, 2), 2, "r3", 1),
        (("ec", 4, 2), 3, "e4.2", 1),
        (("ec", 4, 2), 6, "e4.2", 2),
    ],
)
def test_a_policy_is_as_redundant_as_the_disks_allow(
    policy: tuple[str, int, int], count: int, scheme: str, lose: int
) -> None:
    found = fitting(*policy, count)
    assert found.text == scheme
    assert parse(scheme) == found
    assert tolerance(found, count) == lose


def test_pointers_are_read_as_they_are_written() -> None:
    data = ";".join([pointer(copies(3), "aa", 5), pointer(coded(4, 2), "bb", 7)])
    assert [(e.scheme.text, e.id, e.size_bytes) for e in extents(data)] == [
        ("r3", "aa", 5),
        ("e4.2", "bb", 7),
    ]
    assert file_ids(data) == ["aa", "bb"]
    assert extents("") == []
    assert is_inline("i:cc:3")
    assert not is_inline(data)


def test_the_default_policy_is_the_seeded_one() -> None:
    specs = (
        PolicySpec(name="a", data=3),
        PolicySpec(name="b", kind="ec", data=2, parity=1, is_default=True),
    )
    layouts = (Layout(number=1, disks=disks(3)),)
    found = DiskMap(node_id="node-0", layouts=layouts, policies=specs)
    assert [found.scheme(name).text for name in ("", "a", "b", "nobody")] == [
        "e2.1",
        "r3",
        "e2.1",
        "r3",
    ]


def row(number: int, **fields: object) -> DataDisk:
    given = {"weight": 1.0, "have": "ok", **fields}
    return DataDisk(id=f"d{number}", node_id=f"n{number}", path="/d", created_at=1, **given)  # type: ignore[arg-type]


def nodes(count: int, **down: int) -> dict[str, NodeRow]:
    return {
        f"n{n}": NodeRow(
            id=f"n{n}", name="n", created_at=1, state="down" if f"n{n}" in down else "up",
            updated_at=down.get(f"n{n}", 0),
        )
        for n in range(count)
    }  # fmt: skip


def test_who_is_away_for_long_is_given_up() -> None:
    minute = 60_000_000
    some = [row(0), row(1, have="gone", have_since=minute), row(2), row(3, weight=0.0), row(4)]
    given = nodes(5, n2=minute)
    for now, expected in ((2 * minute, ["d0", "d1", "d2", "d4"]), (20 * minute, ["d0", "d4"])):
        assert [d.id for d in wanted_disks(some, given, now, 600)] == expected


def test_one_layout_follows_the_other() -> None:
    some = [row(n) for n in range(3)]
    first = next_layout([], some)
    assert first is not None
    layouts = [ObjectLayout(id="1", disks=first, created_at=1)]
    assert next_layout(layouts, some) is None
    assert next_layout(layouts, []) is None
    second = next_layout(layouts, some[:2])
    assert second is not None
    layouts.append(ObjectLayout(id="2", disks=second, created_at=1))
    assert next_layout(layouts, some) is None  # one after the other
    given = nodes(3)
    for synced, expected in (((1, 2), False), ((2, 2), True)):
        known = {d.id: row(n, synced=synced[n]) for n, d in enumerate(some[:2])}
        assert is_done(layouts, known, given) is expected
    known = {"d0": row(0, synced=2), "d1": row(1, synced=1)}
    assert is_done(layouts, known, nodes(3, n1=1)) is True  # it learns the rest when it is back


GOLDEN = [
    ["disk-2", "disk-0", "disk-1", "disk-4", "disk-3"],
    ["disk-4", "disk-0", "disk-2", "disk-3", "disk-1"],
    ["disk-1", "disk-3", "disk-2", "disk-4", "disk-0"],
]
GOLDEN_HOMES = [
    (0, "disk-3"),
    (1, "disk-0"),
    (2, "disk-5"),
    (3, "disk-2"),
    (4, "disk-4"),
    (5, "disk-1"),
]
