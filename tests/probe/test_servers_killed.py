"""Server life cycles through the API of a real node, with `kill -9` at random points; then everything is counted.

HEDGEROW_KILL_CYCLES says how many (default 6; a night's run: 100), HEDGEROW_KILL_SEED which (it is printed).
"""

import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import process
from node.lab.place import Place

CYCLES = int(os.environ.get("HEDGEROW_KILL_CYCLES", "6"))
SCRIPT = Path(__file__).with_name("kill_servers.py")
pytestmark = [
    pytest.mark.probe,
    pytest.mark.vm,
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(300 + 60 * CYCLES),
]


def _run(netns: str, *argv: object) -> str:
    words = ["ip", "netns", "exec", netns, *(str(word) for word in argv)]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def lab() -> Iterator[tuple[str, Path]]:
    """A lab in a network namespace of its own; after it nothing is left of either."""
    netns = f"hgkill-{secrets.token_hex(3)}"
    directory = Path(tempfile.mkdtemp(prefix="hedgerow-kill-"))
    subprocess.run(["ip", "netns", "add", netns], check=True)
    try:
        _run(netns, "ip", "link", "set", "lo", "up")
        _run(netns, sys.executable, "-m", "node.cli", "lab", "--dir", directory)
        yield netns, directory
        _run(netns, sys.executable, "-m", "node.cli", "lab", "--dir", directory, "--destroy")
        links = _run(netns, "ip", "-br", "link").splitlines()
        assert [line.split()[0] for line in links] == ["lo"]
        assert not directory.exists()
        assert str(directory) not in Path("/proc/mounts").read_text()
    finally:
        if directory.exists():
            process.stop(Place(directory))
            subprocess.run(
                ["ip", "netns", "exec", netns, sys.executable, "-m", "node.cli", "lab", "--dir",
                 directory, "--destroy"], check=False,
            )  # fmt: skip
        subprocess.run(["ip", "netns", "delete", netns], check=False)
        shutil.rmtree(directory, ignore_errors=True)


def test_servers_survive_kills(lab: tuple[str, Path]) -> None:
    netns, directory = lab
    seed = int(os.environ.get("HEDGEROW_KILL_SEED", "0")) or random.randrange(1, 10**6)
    try:
        said = _run(netns, sys.executable, SCRIPT, directory, CYCLES, seed)
    except AssertionError:
        print((directory / "hedgerow.log").read_text(errors="replace")[-8000:])
        raise
    assert "the world is as it was" in said
