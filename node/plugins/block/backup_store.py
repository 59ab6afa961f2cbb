"""Where backups are: pieces by the hash of their contents, and one manifest for each backup.

Equal pieces are stored once, whatever volume they are of; a piece goes when no manifest names it any more.
"""

import contextlib
import fcntl
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from node.plugins.block.drivers.driver import DriverError
from node.sdk import Frozen


class Manifest(Frozen):
    """What a backup consists of."""

    size_bytes: int
    piece_bytes: int
    pieces: dict[int, str] = {}
    """Hash by number of the piece; those that are missing are zeros."""


class BackupStore:
    """Backups in a directory of the node."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pieces = root / "pieces"
        self._manifests = root / "manifests"

    def put(self, data: bytes) -> tuple[str, bool]:
        """Store a piece; return its hash, and whether it was new."""
        name = hashlib.sha256(data).hexdigest()
        path = self._path(name)
        if path.exists():
            return name, False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _write(path, zlib.compress(data, 1))
        except OSError as error:
            raise DriverError(f"The backup cannot be written: {error.strerror}") from error
        return name, True

    def get(self, name: str) -> bytes:
        """Return a piece.

        Raises:
            DriverError: it is lost or damaged.
        """
        try:
            data = zlib.decompress(self._path(name).read_bytes())
        except (OSError, zlib.error) as error:
            raise DriverError(f"A piece of the backup cannot be read: {error}") from error
        if hashlib.sha256(data).hexdigest() != name:
            raise DriverError("A piece of the backup is damaged")
        return data

    def manifest(self, backup_id: str) -> Manifest | None:
        """Return the manifest of a backup, None where there is none."""
        try:
            return msgspec.json.decode((self._manifests / backup_id).read_bytes(), type=Manifest)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise DriverError(f"The manifest of the backup cannot be read: {error}") from error

    def keep(self, backup_id: str, manifest: Manifest) -> None:
        """Store a manifest: from now on the backup is whole."""
        self._manifests.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(self._manifests / backup_id, msgspec.json.encode(manifest))

    def drop(self, backup_id: str) -> None:
        """Remove a backup and the pieces that no other names. Holds off those that are being made."""
        with self.working(alone=True):
            (self._manifests / backup_id).unlink(missing_ok=True)
            named: set[str] = set()
            for path in self._manifests.iterdir() if self._manifests.is_dir() else ():
                found = self.manifest(path.name)
                named.update(found.pieces.values() if found else ())
            for path in self._pieces.glob("*/*"):
                if path.name.removesuffix(".new") not in named:
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def working(self, *, alone: bool = False) -> Iterator[None]:
        """Hold the store while pieces of a backup are written, or, alone, while pieces go."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)

    def _path(self, name: str) -> Path:
        return self._pieces / name[:2] / name


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(f"{path.name}.new")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
