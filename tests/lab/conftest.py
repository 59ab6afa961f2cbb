"""One lab for all tests of this directory."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.testing.running_lab import RunningLab, running_lab


@pytest.fixture(scope="session")
def lab() -> Iterator[RunningLab]:
    directory = Path(tempfile.mkdtemp(prefix="hedgerow-lab-", dir="/var/tmp"))
    try:
        with running_lab(directory / "lab") as running:
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)
