"""The guest image, built once a session, and a key for it."""

import os
import subprocess
import time
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def guest_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the image, or take it from HEDGEROW_GUEST_CACHE when it was built there from the same inputs."""
    cache = os.environ.get("HEDGEROW_GUEST_CACHE")
    directory = Path(cache) if cache else tmp_path_factory.mktemp("guest")
    begun = time.monotonic()
    done = subprocess.run(
        [REPO / "image/guest/build", "-o", directory, "--cache", directory / "packages"],
        check=False, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"{done.stdout.strip()} ({time.monotonic() - begun:.1f} s)")
    return directory / "guest.qcow2"


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guest test", "-f", path], check=True
    )
    return path
