"""One cluster of three nodes for all tests of this directory that need one."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.testing.running_cluster import RunningCluster, running_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[RunningCluster]:
    directory = Path(tempfile.mkdtemp(prefix="hgc-", dir="/var/tmp"))
    try:
        with running_cluster(directory / "lab", "--nodes", "3", "--no-server") as running:
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)
