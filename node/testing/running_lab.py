"""A real lab in a network namespace of its own: what tests of the whole product stand on.

Everything is the product as its user has it: `hedgerow lab`, real processes, real guests, the unmodified clients.
"""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

_START_S = 400
_COMMAND_S = 240

SSH = ("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={os.devnull}", "-o", "LogLevel=ERROR",
       "-o", "BatchMode=yes", "-o", "ConnectTimeout=5")  # fmt: skip


class RunningLab:
    """One lab. Make it by `running_lab`."""

    def __init__(self, directory: Path, netns: str) -> None:
        self.directory = directory
        self.netns = netns
        self._python = sys.executable

    @property
    def facts(self) -> Any:
        """Return lab.json."""
        return json.loads((self.directory / "lab.json").read_text())

    def run(self, argv: Sequence[str | Path], *, timeout_s: float = _COMMAND_S, **env: str) -> str:
        """Run a command in the lab's namespace and return its output.

        Raises:
            AssertionError: it failed; carries what it printed.
        """
        done = self.attempt(argv, timeout_s=timeout_s, **env)
        assert done.returncode == 0, (
            f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}"
        )
        return done.stdout

    def attempt(
        self,
        argv: Sequence[str | Path],
        *,
        timeout_s: float = _COMMAND_S,
        typed: str = "",
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the lab's namespace, whatever becomes of it."""
        return subprocess.run(
            ["ip", "netns", "exec", self.netns, *map(str, argv)],
            capture_output=True, text=True, check=False, timeout=timeout_s, input=typed,
            env={**os.environ, **env},
        )  # fmt: skip

    def lab(self, *arguments: str) -> str:
        """Run `hedgerow lab` on this lab."""
        argv: list[str | Path] = [
            self._python,
            "-m",
            "node.cli",
            "lab",
            "--dir",
            self.directory,
            *arguments,
        ]
        return self.run(argv, timeout_s=_START_S)

    def hedgerow(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Run another command of `hedgerow`, which asks this lab's node; `typed` is its standard input."""
        argv: list[str | Path] = [self._python, "-m", "node.cli", *arguments]
        return self.attempt(argv, typed=typed, HEDGEROW_CONFIG=str(self.directory / "hedgerow.ini"))

    def openstack(self, *arguments: str, cloud: str = "demo") -> str:
        """Run the unmodified `openstack` client and return what it prints."""
        client = Path(self._python).with_name("openstack")
        clouds = str(self.directory / "clouds.yaml")
        output = self.run([client, *arguments], OS_CLIENT_CONFIG_FILE=clouds, OS_CLOUD=cloud)
        return output.strip()

    def show(self, *arguments: str, cloud: str = "demo") -> Any:
        """Run the `openstack` client and return its JSON output."""
        return json.loads(self.openstack(*arguments, "-f", "json", cloud=cloud))

    def ssh(self, address: str, command: str, key: Path, user: str = "hedgerow") -> str:
        """Run a command in a guest."""
        return self.run(["ssh", "-i", key, *SSH, f"{user}@{address}", command])

    def wait_for_ssh(self, address: str, key: Path, timeout_s: float = 180) -> None:
        """Wait until a guest runs commands."""
        argv: list[str | Path] = ["ssh", "-i", key, *SSH, f"hedgerow@{address}", "true"]
        wait_until(
            f"ssh at {address}", lambda: self.attempt(argv).returncode == 0, timeout_s=timeout_s
        )

    def links(self) -> set[str]:
        """Return the names of all interfaces in the lab's namespace."""
        return {link["ifname"] for link in json.loads(self.run(["ip", "-j", "link"]))}

    def processes(self) -> dict[int, str]:
        """Return the command lines of all processes that name the lab's directory, by process id."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    line = (
                        (entry / "cmdline")
                        .read_bytes()
                        .replace(b"\0", b" ")
                        .decode(errors="replace")
                    )
                    if str(self.directory) in line:
                        found[int(entry.name)] = line
        return found


def wait_until(
    what: str, ready: Callable[[], object], *, timeout_s: float, pause_s: float = 0.3
) -> None:
    """Wait for a condition.

    Raises:
        AssertionError: it does not hold in time.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:.0f} s"
        time.sleep(pause_s)


@contextlib.contextmanager
def running_lab(directory: Path, *arguments: str) -> Iterator[RunningLab]:
    """Start a lab in a new namespace; destroy it, and the namespace, in any case."""
    netns = f"lab-{secrets.token_hex(4)}"
    subprocess.run(["ip", "netns", "add", netns], check=True)
    lab = RunningLab(directory, netns)
    try:
        lab.run(["ip", "link", "set", "lo", "up"])
        lab.lab(*arguments)
        yield lab
    except BaseException:
        with contextlib.suppress(OSError):
            log = (directory / "hedgerow.log").read_text(errors="replace").splitlines()
            sys.stdout.write("\n".join(line[:400] for line in log[-60:]) + "\n")
        raise
    finally:
        try:
            if directory.exists():
                lab.lab("--destroy")
        finally:
            for pid in lab.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            subprocess.run(["ip", "netns", "delete", netns], check=False)
            shutil.rmtree(directory, ignore_errors=True)
