"""Directories for real qemu-storage-daemons, all of which are gone after the test."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.plugins.block.drivers.replicated.process import BINARY, command_line


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a directory with a short name; end every qemu-storage-daemon that names it."""
    if shutil.which(BINARY) is None:
        pytest.skip(f"needs {BINARY}")
    directory = Path(tempfile.mkdtemp(prefix="hgt-"))
    try:
        yield directory
    finally:
        for pid in running(directory):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)


def running(directory: Path) -> list[int]:
    """Return the storage daemons of a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            line = command_line(int(entry.name))
            if line[:1] == [BINARY] and any(
                    part.startswith(f"{directory}/") for part in line
                ):
                found.append(int(entry.name))
    return found
