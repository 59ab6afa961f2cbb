"""A node of the next version among nodes of this one: real processes of two different packages."""

import contextlib
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cluster.features import FEATURE_LEVEL
from node.cluster.tables import CLUSTER, ClusterRow
from node.control.placement import NodeRow
from node.state.machine import Machine
from node.state.reader import STATE_FILE
from tests.probe.core_cluster import CoreNode, CoreSite
from tests.probe.daemon import ROOT

pytestmark = [pytest.mark.probe, pytest.mark.slow, pytest.mark.timeout(400)]

NEXT = FEATURE_LEVEL + 1


def next_version(place: Path) -> Path:
    """Return a copy of the package as its next version may be: a new table, and one that older code cannot use."""
    code = place / "next"
    shutil.copytree(ROOT / "node", code / "node", ignore=shutil.ignore_patterns("__pycache__"))
    features, tables = code / "node/cluster/features.py", code / "node/cluster/tables.py"
    edit(features, f"FEATURE_LEVEL = {FEATURE_LEVEL}\n", f"FEATURE_LEVEL = {NEXT}\n")
    edit(code / "node/__init__.py", '__version__ = "', '__version__ = "9.')
    edit(
        tables,
        '    __table__ = Table(name="join_tokens")\n',
        '    __table__ = Table(name="join_tokens", indexes=(("colour",),), version=2, compat=2)\n'
        f"    since_level = {NEXT}\n"
        '    colour: str = "green"\n',
    )
    edit(
        tables,
        "ROW_TYPES: tuple[type[Row], ...] = (",
        "class Novelty(Row):\n"
        '    """Something new."""\n\n'
        '    __table__ = Table(name="novelties")\n'
        f"    since_level = {NEXT}\n\n\n"
        "ROW_TYPES: tuple[type[Row], ...] = (Novelty, ",
    )
    return code


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


def has_new_tables(node: CoreNode) -> bool:
    with contextlib.closing(sqlite3.connect(f"file:{node.state / STATE_FILE}?mode=ro", uri=True)) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
        columns = {row[1] for row in db.execute("PRAGMA table_xinfo(join_tokens)")}
    new = "novelties" in names
    assert new is ("colour" in columns)
    return new


def level(node: CoreNode) -> int:
    return int(node.rows(ClusterRow)[CLUSTER].feature_level)


def versions(node: CoreNode) -> dict[str, str]:
    return {row.name: row.facts["version"] for row in node.rows(NodeRow).values()}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[CoreSite]:
    made = CoreSite(tmp_path, ("a", "b", "c"), founders=3)
    try:
        made.start()
        made.until_voters("a", "b", "c")  # whoever founds has its own level: here this version's
        made.nodes["c"].end()
        made.nodes["c"].code = next_version(tmp_path)
        made.nodes["c"].start()
        yield made
    finally:
        made.close()


def test_new_features_wait_for_all_members_and_for_nobody_who_is_removed(site: CoreSite) -> None:
    a, b, c = (site.nodes[name] for name in "abc")
    site.until_voters("a", "b", "c")
    site.until("c says what it is", lambda: versions(a)["c"].startswith("9."))
    assert not versions(a)["a"].startswith("9.")
    site.define("c")
    for node in (a, b, c):
        node.put(f"by-{node.name}")
    held = {"by-a", "by-b", "by-c"}
    site.until_all_hold(held)
    assert [level(node) for node in (a, b, c)] == [FEATURE_LEVEL] * 3
    site.until(
        "the leader says who is waited for",
        lambda: any("new features wait for a, b" in health(node) for node in (a, b, c)),
    )

    a.end()  # one is brought up to date, the other one is away meanwhile
    b.end(signal.SIGKILL)
    a.code = c.code
    a.start()
    a.put("without-b")
    held.add("without-b")
    site.until("a says what it is", lambda: versions(c)["a"].startswith("9."))
    site.until(
        "b is waited for",
        lambda: any("wait for b (away)" in health(node) for node in (a, c)),
    )
    assert not has_new_tables(a)

    b.start()  # as it was: it is no trouble, and none for it
    b.put("from-the-old-one")
    held.add("from-the-old-one")
    site.until_all_hold(held)
    assert not has_new_tables(b)

    b.end(signal.SIGKILL)
    gone = b.node_id
    site.until("b is down", lambda: a.rows(NodeRow)[gone].state == "down")
    a.cli("node", "remove", "b")
    site.until("the level rises", lambda: level(a) == level(c) == NEXT)
    site.until("the new tables are there", lambda: has_new_tables(a) and has_new_tables(c))
    c.put("with-all-features")

    site.until("both are at one entry", lambda: a.applied() == c.applied())
    a.end()
    c.end()
    assert digest(a) == digest(c)  # what all the versions made of one log
    c.start()
    a.code = ROOT  # back to the older version: it says no, and does nothing
    a.start()
    assert a.process is not None
    assert a.process.wait(60) == 1
    a.is_wanted = False
    assert "install the newer version again" in (a.place / "log").read_text()
    a.code = c.code
    a.start()
    site.until("a is back", lambda: "with-all-features" in a.rows())

    late = site.add("late")
    late.start()
    site.until(
        "an old node is refused",
        lambda: any("this node's version" in text for _ok, text in late.health().values()),
    )
    late.end(signal.SIGKILL)
    assert "late" not in {row.name for row in a.rows(NodeRow).values()}


def health(node: CoreNode) -> str:
    return node.health().get("members", (True, ""))[1]


def digest(node: CoreNode) -> str:
    with contextlib.closing(Machine(node.state / STATE_FILE)) as machine:
        return f"{machine.applied_index} {machine.digest()}"
