"""The life of a cluster of real core processes: cold starts, new addresses, removal, and a lost majority."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.cluster.tables import DepartedNode
from node.control.placement import NodeRow
from tests.probe.core_cluster import CoreSite
from tests.probe.daemon import free_port

pytestmark = [pytest.mark.probe, pytest.mark.slow, pytest.mark.timeout(400)]

Make = Callable[..., CoreSite]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[CoreSite] = []

    def site(*names: str, more: str = "") -> CoreSite:
        made.append(CoreSite(tmp_path, names, founders=3, more=more))
        made[0].start()
        return made[0]

    yield site
    for one in made:
        one.close()


def test_a_cluster_lives_through_cold_starts_new_addresses_and_a_removal(make: Make) -> None:
    site = make("a", "b", "c")
    site.until_voters("a", "b", "c")
    site.define("b")
    for name in "abc":
        site.nodes[name].put(f"by-{name}")
    held = {"by-a", "by-b", "by-c"}
    site.until_all_hold(held)

    site.end()  # a clean stop of all, and a start in another order
    site.start("c")
    site.start("a", "b")
    site.nodes["c"].put("after-cold-start")
    held.add("after-cold-start")
    site.until_all_hold(held)

    site.end(number=signal.SIGKILL)  # a power cut, and the first to come back is alone for a while
    site.start("b")
    site.until(
        "b says what is wrong", lambda: not site.nodes["b"].health().get("quorum", (True,))[0]
    )
    assert set(site.nodes["b"].rows()) == held
    site.start("a")
    site.nodes["b"].put("two-of-three")
    site.start("c")
    held.add("two-of-three")
    site.until_all_hold(held)

    b = site.nodes["b"]
    b.end()
    b.port = free_port()  # another address: same node
    b.start()
    b.put("from-elsewhere")
    held.add("from-elsewhere")
    site.until_all_hold(held)
    a = site.nodes["a"]
    site.until(
        "the new address is known",
        lambda: a.rows(NodeRow)[b.node_id].cluster_port == b.port,
    )
    assert {row.name for row in a.rows(NodeRow).values()} == {"a", "b", "c"}

    gone = b.node_id
    a.cli("node", "remove", "b")
    site.until("b is no member", lambda: gone not in a.rows(NodeRow))
    assert a.rows(DepartedNode)[gone].name == "b"
    site.until("b learns it", lambda: "removed" in b.health().get("membership", (True, ""))[1])
    site.nodes["c"].put("without-b")
    held.add("without-b")
    site.until_all_hold(held, "a", "c")
    b.end()
    b.start()  # a restart makes it no member again
    site.until("b still knows", lambda: "removed" in b.health().get("membership", (True, ""))[1])
    assert gone not in a.rows(NodeRow)
    site.nodes["c"].put("not-for-b")
    held.add("not-for-b")
    site.until_all_hold(held, "a", "c")
    assert "not-for-b" not in b.rows()


def test_one_survivor_goes_on_and_those_who_return_follow_it(make: Make) -> None:
    site = make("a", "b", "c")
    site.until_voters("a", "b", "c")
    site.define("a")
    site.nodes["a"].put("agreed")
    site.until_all_hold({"agreed"})
    survivor, others = site.nodes["c"], ("a", "b")
    survivor.end(signal.SIGKILL)
    site.nodes["a"].put("unknown-to-the-survivor")
    site.until_all_hold({"agreed", "unknown-to-the-survivor"}, *others)
    site.end(*others, number=signal.SIGKILL)

    assert "entry" in survivor.cli("cluster", "recover", "--yes")
    survivor.start()
    survivor.put("after-the-recovery")
    assert set(survivor.rows()) == {"agreed", "after-the-recovery"}
    file = site.place / "exported"
    survivor.cli("cluster", "export", str(file))

    site.start(*others)  # a majority of the old voters, with what the survivor never had
    site.until_all_hold({"agreed", "after-the-recovery"})
    site.until_voters("a", "b", "c")
    site.nodes["a"].put("together-again")
    site.until_all_hold({"agreed", "after-the-recovery", "together-again"})

    site.end()
    first = site.nodes["b"]
    first.cli("cluster", "restore", "--yes", str(file))
    site.start()
    site.until_all_hold({"agreed", "after-the-recovery"})
    first.put("after-the-restore")
    site.until_all_hold({"agreed", "after-the-recovery", "after-the-restore"})
    site.until_voters("a", "b", "c")
