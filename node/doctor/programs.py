"""Programs that the node runs, and their versions."""

import importlib.util
import re
from collections.abc import Sequence

from node.doctor.check import Check
from node.doctor.machine import Machine
from node.types import Frozen

_QEMU_MAJOR = 10
_QEMU_MEND = "On Debian 12 take it from backports: sudo scripts/lab does that"


class _Program(Frozen):
    name: str
    package: str
    version: tuple[str, ...] = ("--version",)
    at_least: int = 0
    mend: str = ""


_PROGRAMS = (
    _Program(name="qemu-img", package="qemu-utils", at_least=_QEMU_MAJOR, mend=_QEMU_MEND),
    _Program(
        name="qemu-storage-daemon", package="qemu-utils", at_least=_QEMU_MAJOR, mend=_QEMU_MEND
    ),
    _Program(name="libvirtd", package="libvirt-daemon", at_least=9),
    _Program(name="virtlogd", package="libvirt-daemon"),
    _Program(name="dnsmasq", package="dnsmasq-base"),
    _Program(name="nft", package="nftables"),
    _Program(name="ip", package="iproute2", version=("-V",)),
)

_EMULATORS = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}


def program_checks(machine: Machine) -> Sequence[Check]:
    """Check that each program is there and new enough."""
    arch = machine.run("uname", "-m").text or "x86_64"
    emulator = _Program(
        name=f"qemu-system-{arch}",
        package=_EMULATORS.get(arch, "qemu-system"),
        at_least=_QEMU_MAJOR,
        mend=_QEMU_MEND,
    )
    return [*(_program(machine, program) for program in (emulator, *_PROGRAMS)), _libvirt_python()]


def _program(machine: Machine, program: _Program) -> Check:
    if machine.find(program.name) is None:
        return Check(
            name=program.name,
            ok=False,
            detail=f"{program.name} is not installed",
            mend=f"Run: apt-get install {program.package}. {program.mend}".strip(),
        )
    done = machine.run(program.name, *program.version)
    found = re.search(r"(\d+)\.[\d.]*\d", done.text)
    version = found.group(0) if found else "unknown"
    if done.status != 0 and not found:
        return Check(
            name=program.name,
            ok=False,
            detail=f"{program.name} does not start: {done.text.splitlines()[:1]}",
            mend=f"Run: apt-get install --reinstall {program.package}",
        )
    if program.at_least and (not found or int(found.group(1)) < program.at_least):
        return Check(
            name=program.name,
            ok=False,
            detail=f"{program.name} has version {version}, the node needs {program.at_least} or newer",
            mend=program.mend or f"Upgrade {program.package}",
        )
    return Check(name=program.name, ok=True, detail=f"version {version}")


def _libvirt_python() -> Check:
    works = importlib.util.find_spec("libvirt") is not None
    return Check(
        name="libvirt for Python",
        ok=works,
        detail="installed" if works else "libvirt-python is not in this Python environment",
        mend="" if works else "Run sudo scripts/lab: it makes the environment from the locked list",
    )
