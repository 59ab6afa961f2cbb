"""Names and addresses change: of one node while the others run, and of all of them at once while none does."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.control.placement import NodeRow
from tests.probe.core_cluster import CoreNode, CoreSite
from tests.probe.daemon import free_port

pytestmark = [pytest.mark.probe, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[CoreSite]:
    made = CoreSite(tmp_path, ("a", "b", "c"), founders=3)
    try:
        made.start()
        yield made
    finally:
        made.close()


def places(node: CoreNode) -> dict[str, tuple[str, str, int]]:
    return {
        row.id: (row.name, row.address, row.cluster_port) for row in node.rows(NodeRow).values()
    }


def test_nodes_are_known_by_their_keys_wherever_and_whatever_they_are(site: CoreSite) -> None:
    site.until_voters("a", "b", "c")
    site.define("a")
    a, b, c = (site.nodes[name] for name in "abc")
    ids = {node: node.node_id for node in (a, b, c)}
    b.end()
    b.host, b.port, b.shown_name = "127.0.0.2", free_port(), "b-renamed"
    b.start()
    b.put("from-elsewhere")
    site.until_all_hold({"from-elsewhere"})
    site.until(
        "the others know",
        lambda: places(a)[ids[b]] == ("b-renamed", "127.0.0.2", b.port) == places(c)[ids[b]],
    )
    assert set(places(a)) == set(ids.values())

    site.end()
    for number, node in enumerate((a, b, c), 3):
        node.host, node.port = f"127.0.0.{number}", free_port()
        node.shown_name = f"moved-{node.name}"
    site.start()
    for node in (a, b, c):
        node.put(f"by-{node.name}")
    held = {"from-elsewhere", "by-a", "by-b", "by-c"}
    site.until_all_hold(held)
    site.until(
        "all know of all",
        lambda: all(
            places(one)[ids[node]] == (node.shown_name, node.host, node.port)
            for one in (a, b, c)
            for node in (a, b, c)
        ),
    )
    assert {row.role for row in a.rows(NodeRow).values()} == {"voter"}


def test_rows_begin_anew_on_a_machine_that_never_was_a_node(tmp_path: Path) -> None:
    site = CoreSite(tmp_path, ("a",), founders=1)
    file = tmp_path / "exported"
    try:
        a = site.nodes["a"]
        site.start()
        site.until_voters("a")
        site.define("a")
        a.put("kept")
        a.cli("cluster", "export", str(file))
        a.put("too-late")
        gone = a.node_id
        a.end(signal.SIGKILL)
        shutil.rmtree(a.state)  # the machine is lost

        d = site.add("d")
        d.configure()
        assert "begins anew" in d.cli("cluster", "restore", "--yes", str(file))
        d.start()
        d.put("on-a-new-machine")
        assert set(d.rows()) == {"kept", "on-a-new-machine"}
        site.until("a is down", lambda: d.rows(NodeRow)[gone].state == "down")
        e = site.add("e")
        e.start()  # with the token of the lost cluster; it starts again when it hears that this one began anew
        site.until("e follows", lambda: "on-a-new-machine" in e.rows())
        e.put("by-a-new-node")
        site.until_all_hold({"kept", "on-a-new-machine", "by-a-new-node"}, "d", "e")
        d.cli("node", "remove", "a")
        site.until("a is forgotten", lambda: gone not in d.rows(NodeRow))
    finally:
        site.close()
