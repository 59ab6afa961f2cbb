"""Disk files by qemu-img, made so that a kill at any point leaves either nothing or a whole file.

The format of a file is always said, never guessed, and a file that names another (backing file, data file) is refused
before a guest or QEMU sees it: both would hand a tenant the host's files.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from node.sdk import Frozen, NodeError

_TIMEOUT_S = 600
_INFO_MEMORY_BYTES = 1 << 30
_INFO_CPU_S = 30
FORMATS = ("raw", "qcow2")


class DiskError(NodeError):
    """A disk cannot be made; the message says which and why."""


class ImageError(DiskError):
    """What was asked for cannot be done, here or on any other node."""


class DiskFacts(Frozen):
    """What qemu-img says of a file."""

    format: str
    virtual_size_bytes: int
    actual_size_bytes: int


def inspect(path: Path, disk_format: str) -> DiskFacts:
    """Return facts of a disk file that stands alone.

    Raises:
        ImageError: it is not of this format, damaged, encrypted, or names another file.
    """
    if disk_format not in FORMATS:
        raise ImageError(
            f"disk format {disk_format} cannot be run; convert the image to qcow2 or raw"
        )
    limits = ["prlimit", f"--as={_INFO_MEMORY_BYTES}", f"--cpu={_INFO_CPU_S}", "--"]
    argv = [*limits, "qemu-img", "info", "-U", "--output=json", "-f", disk_format, str(path)]
    try:
        facts: dict[str, Any] = msgspec.json.decode(_run(argv, f"cannot read {path.name}"))
    except DiskError as error:
        raise ImageError(error.message) from error
    special = facts.get("format-specific", {}).get("data", {})
    if any(facts.get(key) for key in ("backing-filename", "full-backing-filename")):
        raise ImageError(f"{path.name} has a backing file, which is refused")
    if special.get("data-file"):
        raise ImageError(f"{path.name} keeps its data in another file, which is refused")
    if facts.get("encrypted") or special.get("corrupt"):
        raise ImageError(f"{path.name} is encrypted or marked corrupt")
    return DiskFacts(
        format=str(facts["format"]),
        virtual_size_bytes=int(facts["virtual-size"]),
        actual_size_bytes=int(facts.get("actual-size", 0)),
    )


def keep_file(source: Path, target: Path) -> None:
    """Make `target` the same file as `source` by a hard link, or a copy where that cannot be.

    Raises:
        DiskError: no room, or the source is gone.
    """
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        try:
            os.link(source, part)
        except FileNotFoundError:
            raise
        except OSError:
            argv = ["cp", "--sparse=auto", "--reflink=auto", "--", str(source), str(part)]
            _run(argv, f"cannot copy {source.name}")
        part.replace(target)
    except OSError as error:
        raise DiskError(f"cannot keep {source}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file that nobody writes to now; holes stay holes.

    Raises:
        DiskError: no room, or the source is gone.
    """
    part = target.with_name(target.name + ".part")
    try:
        argv = ["cp", "--sparse=auto", "--reflink=auto", "--", str(source), str(part)]
        _run(argv, f"cannot copy {source.name}")
        part.replace(target)
    except OSError as error:
        raise DiskError(f"cannot copy {source}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def make_overlay(disk: Path, base: Path, base_format: str, size_bytes: int) -> None:
    """Make a qcow2 disk that begins as the base, which is never written to."""
    backing = os.path.relpath(base, disk.parent)
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", base_format, "-b", backing]
    _make(disk, argv, [str(size_bytes)])


def make_blank(disk: Path, size_bytes: int) -> None:
    """Make an empty qcow2 disk."""
    _make(disk, ["qemu-img", "create", "-q", "-f", "qcow2"], [str(size_bytes)])


def make_ephemeral(disk: Path, size_bytes: int) -> None:
    """Make a raw disk with an empty ext4 file system, as Nova does."""
    _sparse(disk, size_bytes, ["mkfs.ext4", "-q", "-F", "-L", "ephemeral0"])


def make_swap(disk: Path, size_bytes: int) -> None:
    """Make a raw disk to swap on."""
    _sparse(disk, size_bytes, ["mkswap", "-L", "swap"])


def size_of(disk: Path) -> int:
    """Return the bytes that a guest sees of a qcow2 disk of ours, which may rest on a base."""
    argv = ["qemu-img", "info", "-U", "--output=json", "-f", "qcow2", str(disk)]
    facts: dict[str, Any] = msgspec.json.decode(_run(argv, f"cannot read {disk.name}"))
    return int(facts["virtual-size"])


def resize(disk: Path, size_bytes: int) -> None:
    """Grow a qcow2 disk that nobody uses."""
    argv = ["qemu-img", "resize", "-q", "-f", "qcow2", str(disk), str(size_bytes)]
    _run(argv, f"cannot resize {disk.name}")


def convert(source: Path, source_format: str, target: Path, target_format: str) -> None:
    """Copy a disk's contents into a file of a format, as of a snapshot or for a full copy."""
    argv = ["qemu-img", "convert", "-q", "-f", source_format, "-O", target_format, str(source)]
    _make(target, argv, [])


def _make(disk: Path, argv: list[str], after: list[str]) -> None:
    part = disk.with_name(disk.name + ".part")
    try:
        _run([*argv, str(part), *after], f"cannot make {disk.name}")
        part.replace(disk)
    finally:
        part.unlink(missing_ok=True)


def _sparse(disk: Path, size_bytes: int, argv: list[str]) -> None:
    part = disk.with_name(disk.name + ".part")
    try:
        with part.open("wb") as file:
            file.truncate(size_bytes)
        _run([*argv, str(part)], f"cannot format {disk.name}")
        part.replace(disk)
    except OSError as error:
        raise DiskError(f"cannot make {disk.name}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _run(argv: list[str], what: str) -> bytes:
    environment = {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise DiskError(f"{what}: {argv[0]} took more than {_TIMEOUT_S} s") from error
    except OSError as error:
        raise DiskError(f"{what}: {argv[0]} cannot be run, {error.strerror}") from error
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        reason = words[-1] if words else f"{argv[0]} ended with status {done.returncode}"
        raise DiskError(f"{what}: {reason}")
    return done.stdout


def erase_tree(path: Path) -> None:
    """Remove a directory and what is in it; one that is not there is no error."""
    if not path.exists():
        return
    trash = path.with_name(f".gone-{path.name}")
    if not trash.exists():
        path.rename(trash)
    shutil.rmtree(trash)
    if path.exists():
        shutil.rmtree(path)
