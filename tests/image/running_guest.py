"""A guest of our image under QEMU (TCG), with its console, its power button and ssh into it."""

import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
MARK = re.compile(r"GUEST: (.*?) up=([\d.]+)")


def until(what: str, probe: Callable[[], T | None], timeout_s: float) -> T:
    """Return the first answer of `probe` that is true; fail when none comes in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"no {what} within {timeout_s:g} s"
        time.sleep(0.05)


class RunningGuest:
    """Boot a copy-on-write overlay of the image; leave nothing behind."""

    def __init__(
        self,
        image: Path,
        key: Path,
        *,
        disk_gib: int = 2,
        memory_mib: int = 128,
        machine: str = "q35",
        network: str = "",
        extra: tuple[str, ...] = (),
    ) -> None:
        # not tmp_path: the path of a unix socket has at most 107 characters
        self.dir = Path(tempfile.mkdtemp(prefix="hedgerow-guest-"))
        self.key = key
        disk = self.dir / "disk.qcow2"
        subprocess.run(
            [
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                "-F",
                "qcow2",
                "-b",
                str(image),
                str(disk),
                f"{disk_gib}G",
            ],
            check=True,
        )
        self.argv = [
            "qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", machine,
            "-accel", "tcg,tb-size=64", "-m", str(memory_mib),
            "-drive", f"file={disk},if=virtio,format=qcow2", "-device", "virtio-rng-pci",
            "-serial", f"file:{self.dir / 'console'}",
            "-qmp", f"unix:{self.dir / 'qmp'},server=on,wait=off",
            "-netdev", f"user,id=net0,hostfwd=tcp:127.0.0.1:0-:22{network}",
            "-device", "virtio-net-pci,netdev=net0",
            *extra,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.ssh_port = 0

    def __enter__(self) -> Self:
        try:
            self.power_on()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(f"--- console of the guest ---\n{self.console()}")
        self.close()

    def close(self) -> None:
        """Kill QEMU and remove its files."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def power_on(self) -> None:
        """Start QEMU; what an earlier run printed on the console is forgotten."""
        (self.dir / "console").unlink(missing_ok=True)
        (self.dir / "qmp").unlink(missing_ok=True)
        self.started_at = time.monotonic()
        with (self.dir / "qemu.log").open("wb") as log:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until("monitor of QEMU", lambda: self.alive() and (self.dir / "qmp").exists(), 20)
        networks = self.qmp("human-monitor-command", {"command-line": "info usernet"})
        forward = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", networks)
        assert forward, networks
        self.ssh_port = int(forward[1])

    def alive(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.dir / "qemu.log").read_text()
        return True

    def qmp(self, command: str, arguments: dict[str, object] | None = None) -> Any:
        """Run one command of QEMU's monitor."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.dir / "qmp"))
            lines = connection.makefile("rw")
            lines.readline()
            for request in (
                {"execute": "qmp_capabilities"},
                {"execute": command, "arguments": arguments or {}},
            ):
                lines.write(json.dumps(request) + "\n")
                lines.flush()
                answer = json.loads(lines.readline())
                while "event" in answer:
                    answer = json.loads(lines.readline())
            lines.close()
        assert "return" in answer, answer
        return answer["return"]

    def console(self) -> str:
        path = self.dir / "console"
        return path.read_text(errors="replace") if path.exists() else ""

    def marks(self) -> dict[str, float]:
        """Return the guest's own marks with their seconds since its kernel started, in order."""
        return {found[1]: float(found[2]) for found in MARK.finditer(self.console())}

    def wait_mark(self, word: str, timeout_s: float = 120) -> str:
        """Wait for the mark that begins with a word; return all of it."""

        def probe() -> str | None:
            return (
                next((m for m in self.marks() if m.split()[0] == word), None)
                if self.alive()
                else None
            )

        return until(f"mark {word!r} of the guest", probe, timeout_s)

    def ssh(self, command: str, timeout_s: float = 60, stdin: str = "") -> str:
        """Run a shell command in the guest and return its output; the guest's ssh server must be up."""
        done = subprocess.run(
            ["ssh", *self.ssh_options(), "-p", str(self.ssh_port), "hedgerow@127.0.0.1", command],
            check=False, capture_output=True, text=True, timeout=timeout_s, input=stdin,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.returncode}: {done.stdout} {done.stderr}"
        return done.stdout

    def ssh_options(self) -> list[str]:
        return [
            "-i", str(self.key), "-F", "none", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20",
            "-o", "BatchMode=yes",
        ]  # fmt: skip

    def wait_off(self, timeout_s: float) -> float:
        """Wait until QEMU has ended; return how many seconds that took."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.wait(timeout_s)
        return time.monotonic() - begun
