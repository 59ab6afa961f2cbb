"""Nodes that the log cannot bring up to date take over the rows of another one."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.ids import RandomIds
from node.state.machine import Machine
from node.state.reader import Reader
from node.state.txn import Define, Txn, encode_entry, encode_txn, put
from tests.unit.cluster.catching_up import Cluster, Thing, Whole, define, until

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()


def things(cluster: Cluster, name: str, first: int, last: int) -> None:
    for number in range(first, last):
        cluster.nodes[name].write(Thing(id=f"t{number}", text=f"{number:0500d}"))


def test_a_new_node_takes_over_the_rows_and_follows_the_log(cluster: Cluster) -> None:
    a = cluster.start("a")
    define(a)
    things(cluster, "a", 0, 80)
    assert a.consensus.status().journal_entries < 60
    b = cluster.start("b")
    until(b.restored.is_set)
    things(cluster, "a", 80, 90)
    cluster.agree()
    assert len(b.ids()) == 90
    assert not b.consensus.status().is_voter
    cluster.change("add", "b")
    things(cluster, "b", 90, 95)
    cluster.agree()


def test_a_voter_that_was_away_too_long_takes_over_the_rows_and_its_readers_go_on(
    cluster: Cluster,
) -> None:
    voters = ("a", "b", "c")
    for name in voters:
        cluster.start(name, voters)
    define(cluster.leader())
    things(cluster, cluster.leader().name, 0, 10)
    cluster.agree()
    away = next(node for node in cluster.nodes.values() if not node.leads)
    reader = Reader(away.machine.path)
    assert reader.count(Thing) == 10
    others = [name for name in voters if name != away.name]
    cluster.network.cut(away.name, *others)
    things(cluster, cluster.leader().name, 10, 90)
    cluster.network.heal()
    until(away.restored.is_set)
    cluster.agree()
    assert reader.count(Thing) == 90
    reader.close()
    things(cluster, away.name, 90, 95)
    cluster.agree()


def test_a_node_that_was_restarted_meanwhile_catches_up_too(cluster: Cluster) -> None:
    define(cluster.start("a"))
    b = cluster.start("b")
    things(cluster, "a", 0, 5)
    cluster.agree()
    cluster.stop("b")
    things(cluster, "a", 5, 90)
    b = cluster.start("b")
    until(b.restored.is_set)
    cluster.agree()
    assert len(b.ids()) == 90


def test_a_node_catches_up_with_a_leader_that_never_rests(cluster: Cluster) -> None:
    a = cluster.start("a")
    define(a)
    things(cluster, "a", 0, 60)
    cluster.fetching = {"bytes_per_s": 100_000}
    end, count = threading.Event(), [60]

    def work() -> None:
        while not end.is_set():
            things(cluster, "a", count[0], count[0] + 1)
            count[0] += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        b = cluster.start("b")
        until(b.restored.is_set)
        target = a.consensus.status().last_index
        until(lambda: b.machine.applied_index >= target)
    finally:
        end.set()
        worker.join()
    assert count[0] > 60
    cluster.agree()
    until(lambda: a.consensus.status().journal_entries < 80)


def test_the_next_leader_goes_on_when_the_first_dies_amid_a_copy(cluster: Cluster) -> None:
    voters = ("a", "b", "c")
    for name in voters:
        cluster.start(name, voters)
    define(cluster.leader())
    things(cluster, cluster.leader().name, 0, 80)
    cluster.fetching = {"bytes_per_s": 50_000}
    d = cluster.start("d", voters)
    until(lambda: d.fetcher.progress is not None)
    first = cluster.leader().name
    cluster.stop(first)
    things(cluster, cluster.leader().name, 80, 90)
    until(d.restored.is_set)
    cluster.agree()
    assert len(d.ids()) == 90


MOMENTS = ("announced", "replaced", "durable", "begun")


def images(node: Whole, place: Path) -> dict[str, Path]:
    """Have a node leave what a kill would leave at each moment of an installation."""
    left: dict[str, Path] = {}

    def keep(moment: str) -> None:
        def copy() -> None:  # in the loop thread: nothing is written meanwhile
            left[moment] = shutil.copytree(node.place, place / f"{node.name}-{moment}")

        node.consensus._calls.ask(copy)

    restore, told = node.machine.restore_from, node.restored.set

    def restoring(path: Path, *, is_checked: bool = False) -> None:
        keep("announced")
        restore(path, is_checked=is_checked)
        keep("replaced")
        node.machine.checkpoint()
        keep("durable")

    def restored() -> None:
        keep("begun")
        told()

    node.machine.restore_from = restoring  # type: ignore[method-assign]
    node.fetcher._on_restored = restored
    return left


def test_a_kill_at_any_moment_of_an_installation_is_made_good(
    cluster: Cluster, tmp_path: Path
) -> None:
    a = cluster.start("a")
    define(a)
    cluster.start("b")
    things(cluster, "a", 0, 5)
    cluster.agree()
    cluster.stop("b")
    things(cluster, "a", 5, 90)
    found: list[dict[str, Path]] = []
    cluster.prepare = lambda node: found.append(images(node, tmp_path))
    b = cluster.start("b")
    until(b.restored.is_set)
    cluster.agree()
    cluster.stop("b")
    cluster.prepare = lambda _node: None
    (left,) = found
    assert tuple(left) == MOMENTS
    for moment, image in left.items():
        shutil.rmtree(cluster.place / "b")
        image.rename(cluster.place / "b")
        b = cluster.start("b")
        if moment == "announced":
            until(b.restored.is_set)
        things(cluster, "a", 90, 93)
        cluster.agree()
        assert len(b.ids()) == 93
        cluster.stop("b")


KILLED = """
import sys
from pathlib import Path
from node.state.machine import Machine
target = Machine(Path(sys.argv[1]))
print("begin", flush=True)
target.restore_from(Path(sys.argv[2]), is_checked=True)
print("end", flush=True)
"""


def test_a_store_that_is_killed_amid_its_replacement_is_the_old_or_the_new_one(
    tmp_path: Path,
) -> None:
    def filled(name: str, rows: int) -> Machine:
        store = Machine(tmp_path / name)
        made = [put(Thing(id=f"{name}{n}", text=f"{n:08000d}")) for n in range(rows)]
        for op in (Define(Thing.__table__), *made):
            txn = encode_txn(Txn(request_id=RandomIds().uuid(), ops=(op,)))
            store.apply(store.applied_index + 1, encode_entry([txn]))
        return store

    source = filled("source", 1500)
    source.snapshot_to(tmp_path / "copy")
    old = filled("old", 100)
    known = {old.digest(): "old", source.digest(): "new"}
    old.close()
    source.close()
    seen = set()
    for delay_s in (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 5.0):
        target = tmp_path / "target"
        for file in tmp_path.glob("target*"):
            file.unlink()
        shutil.copy(tmp_path / "old", target)
        argv = [sys.executable, "-c", KILLED, str(target), str(tmp_path / "copy")]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "begin\n"
            if delay_s > 1:
                assert child.stdout.readline() == "end\n"
            time.sleep(min(delay_s, 1.0) if delay_s < 1 else 0)
            child.kill()
        store = Machine(target)
        seen.add(known[store.digest()])
        store.close()
    assert "new" in seen


READS = """
import sys
from pathlib import Path
from node.state.reader import Reader
from tests.unit.cluster.catching_up import Thing
reader = Reader(Path(sys.argv[1]))
seen = 0
while not Path(sys.argv[2]).exists():
    reader.data_version()  # must not take the locks from SQLite
    with reader.snapshot():
        rows = reader.rows(Thing)
        kinds = {row.id[:5] for row in rows}
        assert len(kinds) == 1 and len(rows) in (40, 1200), (kinds, len(rows))
    seen += 1
    if seen == 1:
        print("begun", flush=True)
print(seen, flush=True)
"""


def test_readers_of_other_processes_go_on_while_the_rows_grow_and_shrink(tmp_path: Path) -> None:
    def filled(name: str, rows: int) -> Machine:
        store = Machine(tmp_path / name)
        made = [put(Thing(id=f"{name}-{n}", text=f"{n:04000d}")) for n in range(rows)]
        for op in (Define(Thing.__table__), *made):
            txn = encode_txn(Txn(request_id=RandomIds().uuid(), ops=(op,)))
            store.apply(store.applied_index + 1, encode_entry([txn]))
        return store

    for name, rows in (("large", 1200), ("small", 40)):
        source = filled(name, rows)
        source.snapshot_to(tmp_path / f"{name}.copy")
        source.close()
    target = Machine(tmp_path / "target")
    target.restore_from(tmp_path / "small.copy")
    argv = [sys.executable, "-c", READS, str(tmp_path / "target"), str(tmp_path / "end")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        for name in ("large", "small") * 4:
            target.disown()
            target.restore_from(tmp_path / f"{name}.copy")
            target.checkpoint()
        (tmp_path / "end").touch()
        assert int(child.stdout.readline()) >= 1
    assert child.returncode == 0
    target.close()
