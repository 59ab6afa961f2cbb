"""The user's own drill on a whole lab: clients of rows and of the API, nodes that die, hang and are cut off."""

import json
import sys

import pytest

from node.testing.running_cluster import RunningCluster

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.probe, pytest.mark.slow]


@pytest.mark.timeout(600)
def test_a_drill_of_rows_and_api_finds_nothing(cluster: RunningCluster) -> None:
    argv = [sys.executable, "-m", "node.cli", "drill", "--dir", str(cluster.directory), "--json",
            "--seconds", "25", "--seed", "4", "--clients", "4", "--faults", "kill,pause,isolate,deaf,mute"]  # fmt: skip
    done = cluster.attempt(argv, timeout_s=500)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    report = json.loads(done.stdout)
    print({name: value for name, value in report.items() if name != "violations"})
    assert report["violations"] == []
    assert len(report["faults"]) >= 3
    cluster.agree()
