"""Learners that are fed by learners, as whole nodes with real loops, real rows and real copies of rows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cluster.catching_up import Cluster, Thing, Whole, define, until

LEARNERS = ("b", "c", "d", "e", "f")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, direct_learners=2)
    yield made
    made.close()


def direct(leader: Whole) -> set[str]:
    return set(leader.consensus._raft.links.shown)


def test_all_follow_whoever_is_lost_and_whoever_comes_late(cluster: Cluster) -> None:
    leader = cluster.start("a")
    define(leader)
    for name in LEARNERS:
        cluster.start(name)
    until(lambda: all(node.consensus.status().leader_id == "a" for node in cluster.nodes.values()))
    for name, node in cluster.nodes.items():
        node.write(Thing(id=f"by-{name}"))  # also by those that are fed: the leader is asked itself
    cluster.agree()
    assert len(direct(leader)) == 2
    last = max(set(LEARNERS) - direct(leader))
    assert cluster.nodes[last].consensus.confirm(20.0)

    for name in sorted(direct(leader)):
        cluster.stop(name)
    leader.write(Thing(id="without-two"))
    cluster.agree()
    assert len(direct(leader)) == 2

    for number in range(60):  # the log is trimmed: one that comes now needs a copy of the rows
        leader.write(Thing(id=f"more{number}", text="x" * 2000))
    late = cluster.start("late")
    until(lambda: "more59" in late.ids())
    leader.write(Thing(id="for-all"))
    cluster.agree()
    until(lambda: len(direct(leader)) == 2)
