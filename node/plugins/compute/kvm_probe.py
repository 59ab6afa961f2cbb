"""Whether KVM works here: /dev/kvm may exist, open and accept a VM, and the guest still never runs.

So a guest is really started: one boot sector that writes a byte to QEMU's debug-exit port. Only when QEMU ends with
the status that this byte stands for does KVM count. The answer is kept for this boot, kernel and QEMU.
"""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

import msgspec

from node.plugins.compute.host import boot_id
from node.sdk import Frozen

_TIMEOUT_S = 3.0
_EXIT_STATUS = (0x2A << 1) | 1
"""isa-debug-exit ends QEMU with (value << 1) | 1."""
_CODE = bytes.fromhex("b02ae6f4f4ebfd")
"""mov al, 0x2a; out 0xf4, al; hlt; jmp back."""
BOOT_SECTOR = _CODE.ljust(510, b"\0") + b"\x55\xaa"


class ProbeAnswer(Frozen):
    """A kept answer and what it depends on."""

    key: str
    works: bool
    reason: str


def probe_kvm(cache: Path, *, qemu: str, device: Path = Path("/dev/kvm")) -> ProbeAnswer:
    """Say whether a KVM guest runs, and why not; takes up to three seconds once a boot."""
    key = f"{os.uname().release} {_version(qemu)} {boot_id()} {device.exists()}"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        kept = msgspec.json.decode(cache.read_bytes(), type=ProbeAnswer)
        if kept.key == key:
            return kept
    reason = _try(qemu, "kvm") if os.access(device, os.R_OK | os.W_OK) else f"no access to {device}"
    answer = ProbeAnswer(key=key, works=not reason, reason=reason)
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_bytes(msgspec.json.encode(answer))
    return answer


def _try(qemu: str, accel: str, timeout_s: float = _TIMEOUT_S) -> str:
    """Run the probe guest; return "" when it did its work, else what happened instead."""
    with tempfile.TemporaryDirectory(prefix="hedgerow-probe-") as directory:
        sector = Path(directory) / "sector"
        sector.write_bytes(BOOT_SECTOR)
        argv = [
            qemu,
            "-accel",
            accel,
            "-machine",
            "pc",
            "-m",
            "16",
            "-nodefaults",
            "-no-user-config",
        ]
        argv += ["-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
        argv += ["-drive", f"file={sector},format=raw,if=ide,readonly=off", "-boot", "c"]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            return f"the probe guest did not run within {timeout_s:g} s"
        except OSError as error:
            return f"cannot start {qemu}: {error.strerror}"
    if done.returncode == _EXIT_STATUS:
        return ""
    words = done.stderr.decode(errors="replace").strip().splitlines()
    return words[-1] if words else f"the probe guest ended with status {done.returncode}"


def _version(qemu: str) -> str:
    try:
        done = subprocess.run([qemu, "--version"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return done.stdout.decode(errors="replace").partition("\n")[0]
