"""SIGKILL of the core at random moments under load: what was acknowledged is there, exactly once."""

import os
import random
import time
from pathlib import Path

import pytest

from node.cluster.settings import RaftSettings
from tests.probe.log_process import CoreProcess, Load, stored

pytestmark = [pytest.mark.probe, pytest.mark.slow]

KILLS = int(os.environ.get("PROBE_KILLS", "12"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("compaction", "tail"), [(20, 0), (200, 50)], ids=["compacts all the time", "compacts at times"]
)
def test_acknowledged_rows_survive_kills_exactly_once(
    tmp_path: Path, compaction: int, tail: int
) -> None:
    seed = int(os.environ.get("PROBE_SEED", str(random.randrange(2**32))))
    print(f"PROBE_SEED={seed}")
    chance = random.Random(seed)
    settings = RaftSettings(
        node_id="a",
        compaction_min_entries=compaction,
        tail_entries=tail,
        reserve_bytes=2**20,
        floor_bytes=0,
    )
    core = CoreProcess(tmp_path, settings)
    load = Load(tmp_path, threads=8)
    try:
        load.define()
        load.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.02, 0.7))  # the moment is what is drawn
            core.kill()
            core = CoreProcess(tmp_path, settings)
        time.sleep(0.2)
        load.finish()
        assert core.status()["journal_entries"] <= compaction + tail + 200
        core.stop()
    finally:
        core.kill()
        load.finish()
    rows, count = stored(tmp_path)
    print(f"{len(load.acked)} acknowledged over {KILLS} kills")
    assert load.surprises == []
    assert len(load.acked) > 20 * KILLS
    assert len(set(load.acked)) == len(load.acked)
    assert set(load.acked) <= rows
    assert rows <= set(load.tried)
    assert count == len(rows)  # a retried transaction was applied once
    assert rows == set(load.acked)  # each request was repeated until it was answered
