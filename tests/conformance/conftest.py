"""One lab without a first server for all tests of this directory."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.testing.running_lab import running_lab
from node.testing.tempest import Tempest

_REQUIREMENTS = Path(__file__).parents[2] / "requirements-conformance.txt"


@pytest.fixture(scope="session")
def tempest() -> Iterator[Tempest]:
    directory = Path(tempfile.mkdtemp(prefix="hedgerow-tempest-", dir="/var/tmp"))
    try:
        with running_lab(directory / "lab", "--no-server") as lab:
            yield Tempest(lab, _REQUIREMENTS, directory / "workspace")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
