"""A minute of fire on three bare logs: nothing acknowledged is lost, nothing applied twice, all stores end the same.

DRILL_SEED, DRILL_S, DRILL_NODES, DRILL_MIB and DRILL_KINDS choose another; `hedgerow drill` does the same to a whole
lab, API included.
"""

import os
from pathlib import Path

import pytest

from node.cluster.settings import RaftSettings
from node.drill.campaign import Plan, run
from tests.probe.rows_site import SPARES, rows_site

pytestmark = [
    pytest.mark.probe, pytest.mark.netns, pytest.mark.root, pytest.mark.slow,
    # What holds a machine of the lab outlives the object that started it, on purpose.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]  # fmt: skip

SEED = int(os.environ.get("DRILL_SEED", "13141"))
SECONDS = float(os.environ.get("DRILL_S", "60"))
NODES = int(os.environ.get("DRILL_NODES", "3"))
BALLAST_MIB = int(os.environ.get("DRILL_MIB", "10"))
KINDS = tuple(os.environ.get("DRILL_KINDS", "").split())
SETTINGS = RaftSettings(
    node_id="", compaction_min_entries=150, compaction_min_time_s=5.0, tail_entries=20, reserve_bytes=2**20,
    floor_bytes=0,
)  # fmt: skip


@pytest.mark.timeout(SECONDS + 400)
def test_bare_logs_under_fire_lose_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    spares = max(SPARES, int(SECONDS / 10))
    with rows_site(tmp_path, NODES, SETTINGS, disk_mib=256 + 8 * BALLAST_MIB, spares=spares) as site:
        plan = Plan(seed=SEED, seconds=SECONDS, clients=8, ballast_mib=BALLAST_MIB, faults=KINDS)
        report = run(site, plan, said.append, tmp_path / "history.jsonl")
        ended = site.ended()
    print("\n".join(said), report, sep="\n")
    assert report.violations == ()
    assert ended == []
    assert len(report.faults) >= SECONDS / 20


def test_a_log_that_does_not_sync_is_found_when_the_power_fails(tmp_path: Path) -> None:
    said: list[str] = []
    with rows_site(tmp_path, 1, SETTINGS, disk_mib=128, forgets=True) as site:
        plan = Plan(seed=3, seconds=6, clients=4, faults=("power",), settle_s=2)
        report = run(site, plan, said.append)
    print("\n".join(said), report, sep="\n")
    assert any("is lost" in one.what for one in report.violations)
