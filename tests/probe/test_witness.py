"""Two real core processes and a real witness: any one of them may be killed, at any time."""

import itertools
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cluster.client import SOCKET_FILE, ProposalClient
from node.cluster.tables import DepartedNode, WitnessRow
from node.errors import NodeError
from node.ids import RandomIds
from node.state.txn import Applied, Txn, decode_outcome, encode_txn, insert
from tests.probe.core_cluster import CoreSite, Thing, WitnessNode

pytestmark = [pytest.mark.probe, pytest.mark.slow, pytest.mark.timeout(400)]


class Pair:
    """Two nodes, a witness, and writers that note what was acknowledged."""

    def __init__(self, place: Path) -> None:
        self.site = CoreSite(place, ("a", "b"), founders=1)
        self.witness = WitnessNode(self.site, "w")
        self.acknowledged: set[str] = set()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(name,)) for name in "ab"]

    def start(self) -> None:
        self.site.start("a")
        self.site.until_voters("a")
        self.site.start("b")
        self.witness.start()
        self.until_three()
        self.site.define("a")

    def until_three(self) -> None:
        def agreed() -> bool:
            return "follows" in self.witness.says() and all(
                node.health().get("lease", (False, ""))[0]
                and set(node.roles().values()) == {"voter"}
                and len(node.roles()) == 2
                and [(row.role, row.state) for row in node.rows(WitnessRow).values()]
                == [("voter", "up")]
                for node in self.site.nodes.values()
            )

        self.site.until("two nodes and a witness vote", agreed)

    def begin_writing(self) -> None:
        for thread in self._threads:
            thread.start()

    def end_writing(self) -> None:
        self._end.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def close(self) -> None:
        self.end_writing()
        self.site.close()
        self.witness.end(signal.SIGKILL)

    def _write(self, name: str) -> None:
        node, ids = self.site.nodes[name], RandomIds()
        for number in itertools.count():
            if self._end.wait(0.05):
                return
            thing = f"{name}{number}"
            txn = encode_txn(Txn(request_id=ids.uuid(), ops=(insert(Thing(id=thing)),)))
            client = ProposalClient(node.state / SOCKET_FILE)
            try:
                outcome = decode_outcome(client.propose(txn, 5.0))
            except NodeError:
                continue  # it may have been applied, or not
            finally:
                client.close()
            if isinstance(outcome, Applied):
                self.acknowledged.add(thing)

    def until_more(self, by: str) -> None:
        """Wait until something that was asked for after now is acknowledged through a node."""
        before = {one for one in self.acknowledged.copy() if one.startswith(by)}
        self.site.until(
            f"writes through {by} go on",
            lambda: len({one for one in self.acknowledged.copy() if one.startswith(by)}) > len(before) + 3,
        )


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_any_one_of_three_may_die_and_nothing_acknowledged_is_lost(pair: Pair) -> None:
    site, a = pair.site, pair.site.nodes["a"]
    pair.begin_writing()
    pair.until_more("a")
    gaps = []
    for gone in ("a", "w", "b", "a", "b", "w"):
        rest = [name for name in "ab" if name != gone]
        (pair.witness if gone == "w" else site.nodes[gone]).end(signal.SIGKILL)
        began_s = time.monotonic()
        for name in rest:
            pair.until_more(name)
        gaps.append(round(time.monotonic() - began_s, 1))
        if gone == "w":
            pair.witness.start()
        else:
            site.start(gone)
        pair.until_three()
        for name in "ab":
            pair.until_more(name)
    print("seconds until four more writes after each kill:", gaps)
    pair.end_writing()
    site.until(
        "both hold all that was acknowledged",
        lambda: all(pair.acknowledged <= set(node.rows()) for node in site.nodes.values()),
    )

    a.put("secret-thing")
    listed = {row["name"]: row for row in a.ask("node_list")}
    assert (listed["w"]["standing"], listed["w"]["role"]) == ("witness", "voter")
    assert "and a witness" in a.health()["members"][1] + site.nodes["b"].health()["members"][1]
    for file in pair.witness.state.rglob("*"):
        assert not file.is_file() or b"secret-thing" not in file.read_bytes()
    assert not list(pair.witness.state.rglob("*.db"))

    begins_anew(pair)

    a.cli("node", "remove", "w")
    site.until("the witness is gone", lambda: not a.rows(WitnessRow))
    assert listed["w"]["id"] in a.rows(DepartedNode)
    site.until("the witness knows", lambda: "removed" in pair.witness.says())
    site.until("one votes", lambda: sorted(a.roles().values()) == ["learner", "voter"])
    a.put("without-a-witness")


def begins_anew(pair: Pair) -> None:
    """Have one node go on alone after all others are lost; the witness follows, and is of use again."""
    site, a, b = pair.site, pair.site.nodes["a"], pair.site.nodes["b"]
    site.end(number=signal.SIGKILL)
    a.cli("cluster", "recover", "--yes")
    a.start()
    a.put("alone")
    b.start()
    pair.until_three()
    site.until("b follows", lambda: "alone" in b.rows())
    a.end(signal.SIGKILL)
    b.put("with-the-witness")
    a.start()
    pair.until_three()
