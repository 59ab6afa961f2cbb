"""Importing the cluster package leaves the process as it was."""

import subprocess
import sys


def test_addresses_can_still_be_printed() -> None:
    code = "import node.cluster.raft, socket; print(socket.inet_ntop(socket.AF_INET6, bytes(15) + b'\\1'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "::1"
