"""A node whose hypervisor is a dict and whose image is a real, tiny qcow2 file."""

from pathlib import Path

import pytest

from node.testing.compute_plane import Plane


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    """A node without servers."""
    return Plane(tmp_path)
