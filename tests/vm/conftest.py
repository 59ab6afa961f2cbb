"""A node with the real runtime, a libvirtd of its own and real guests; nothing of it survives the test."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.testing.live_compute import LiveNode

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def guest_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the image, or take it from HEDGEROW_GUEST_CACHE when it was built there from the same inputs."""
    cache = os.environ.get("HEDGEROW_GUEST_CACHE")
    directory = Path(cache) if cache else tmp_path_factory.mktemp("guest")
    argv = [
        REPO / "image/guest/build",
        "-o",
        directory / "image",
        "--cache",
        directory / "packages",
    ]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / "image" / "guest.qcow2"


@pytest.fixture
def node(guest_image: Path) -> Iterator[LiveNode]:
    """A node without servers."""
    live = LiveNode(guest_image)
    try:
        yield live
    finally:
        live.destroy()
