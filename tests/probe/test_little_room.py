"""A leader without room on its disk does not keep the others waiting."""

import contextlib
import time
from pathlib import Path

import pytest

from node.cluster.client import SOCKET_FILE, ProposalClient
from node.cluster.settings import RaftSettings
from node.drill.rows_work import DrillItem
from node.errors import NodeError
from node.ids import RandomIds
from node.state.txn import Define, Txn, encode_txn, insert
from tests.probe.rows_site import RowsSite, rows_site

pytestmark = [
    pytest.mark.probe, pytest.mark.netns, pytest.mark.root, pytest.mark.slow,
    # What holds a machine of the lab outlives the object that started it, on purpose.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]  # fmt: skip

SETTINGS = RaftSettings(
    node_id="", compaction_min_entries=40, compaction_min_time_s=0.5, tail_entries=5, reserve_bytes=2**20,
    floor_bytes=2**20,
)  # fmt: skip
PATIENCE_S = 60.0


def write(site: RowsSite, name: str, timeout_s: float = 5.0) -> None:
    row = insert(DrillItem(id=RandomIds().uuid(), thing="t", note="x" * 2000))
    seat = next(seat for seat in site.seats() if seat.name == name)
    client = ProposalClient(seat.state_dir / SOCKET_FILE)
    ops = (Define(DrillItem.__table__), row)
    client.propose(encode_txn(Txn(request_id=RandomIds().uuid(), ops=ops)), timeout_s)


def write_soon(site: RowsSite, name: str) -> float:
    """Return after how many seconds a node has taken a write."""
    began_s = time.monotonic()
    while True:
        with contextlib.suppress(NodeError):
            write(site, name)
            return time.monotonic() - began_s
        assert time.monotonic() - began_s < PATIENCE_S, site.words(name)


def others(site: RowsSite, name: str) -> list[str]:
    return [seat.name for seat in site.seats() if seat.name != name]


@pytest.mark.timeout(240)
def test_a_follower_gets_its_copy_though_the_leader_has_no_room_for_one(tmp_path: Path) -> None:
    with rows_site(tmp_path, 3, SETTINGS, disk_mib=256) as site:
        leader = site.leader()
        behind, other = others(site, leader)
        site.kill([behind])
        for _ in range(120):
            write(site, leader)
        site.disk(leader).fill(leave_bytes=40 << 20)
        site.start([behind])
        took_s = write_soon(site, behind)
        print(f"{behind} took a write after {took_s:.1f} s")
        assert site.leader() == other
        words = site.words(leader)
    assert f"node {other} has it and is to lead" in words


@pytest.mark.timeout(240)
def test_a_leader_with_a_full_disk_leaves_the_log_to_others(tmp_path: Path) -> None:
    with rows_site(tmp_path, 3, SETTINGS, disk_mib=64) as site:
        leader = site.leader()
        site.disk(leader).fill()
        deadline = time.monotonic() + PATIENCE_S
        longest_s = 0.0
        while site.leader() == leader:  # with its reserve it could go on for a while
            longest_s = max(longest_s, *(write_soon(site, name) for name in others(site, leader)))
            assert time.monotonic() < deadline
        longest_s = max(longest_s, *(write_soon(site, name) for name in others(site, leader)))
        print(f"the others waited for {longest_s:.1f} s at most")
        site.disk(leader).empty()
        write_soon(site, leader)
