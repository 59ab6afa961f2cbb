"""The files of replicas on this node: layers, of which the last of a volume's is written and the others never again.

A volume begins as one raw file. A snapshot freezes the layer that was written and puts a qcow2 overlay on it; a clone
is an overlay on frozen layers of another volume. Layers lie together, for several volumes may rest on one.
"""

import contextlib
import json
import os
import stat
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from node.sdk import NodeError, NotFound

_RAW = ".raw"
_QCOW2 = ".qcow2"
_IMAGE_S = 600.0
_FROZEN, _WRITTEN = 0o400, 0o600


class LayerError(NodeError):
    """A layer could not be made or changed."""


class Layers:
    """The directory of layers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, layer: str) -> Path:
        """Return the file of a layer."""
        return self.directory / layer

    def missing(self, layers: Sequence[str]) -> list[str]:
        """Return those that this node does not have."""
        return [layer for layer in layers if not self.path(layer).exists()]

    def trusted(self, layer: str) -> bool:
        """Return whether a layer is here with all that the others have in it: see `freeze`."""
        with contextlib.suppress(OSError):
            return not self.path(layer).stat().st_mode & stat.S_IWUSR
        return False

    def freeze(self, layers: Sequence[str]) -> None:
        """Note that all layers but the last are complete here, and that the last is written.

        For members of a set only. A layer without this mark may be of a replica that was left out before the layer was
        frozen elsewhere: it is fetched again before anything rests on it.
        """
        *below, top = layers
        for layer in below:
            self.path(layer).chmod(_FROZEN)
        self.path(top).chmod(_WRITTEN)

    def make(self, layers: Sequence[str], size_bytes: int) -> None:
        """Make the last layer, empty, unless it is there; all below it must be.

        Raises:
            NotFound: 404, a layer below is not here.
            LayerError: 500, the file system refuses.
        """
        *below, top = layers
        if lost := self.missing(below):
            raise NotFound(f"Layer {lost[0]} is not on this node")
        path = self.path(top)
        if path.exists():
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        aside.unlink(missing_ok=True)
        if below:
            base = ["-b", below[-1], "-F", _format(below[-1])]
            self._image("create", "-q", "-f", "qcow2", *base, aside.name, str(size_bytes))
        elif _format(top) == "qcow2":
            self._image("create", "-q", "-f", "qcow2", aside.name, str(size_bytes))
        else:
            with aside.open("wb") as file:
                file.truncate(size_bytes)
                os.fsync(file.fileno())
        aside.rename(path)
        self._settle()

    def take(self, layer: str, source: Path, source_format: str, size_bytes: int) -> None:
        """Make a raw layer with the contents of a disk image.

        Raises:
            LayerError: 500, it cannot be read, or the disk is full.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = self.path(layer).with_suffix(".new")
        aside.unlink(missing_ok=True)
        file = json.dumps({"driver": "file", "filename": str(source), "locking": "off"})
        spec = json.loads(file)
        of = {"driver": source_format, "file": spec}
        self._image(
            "convert", "-q", "-W", "-t", "none", "-T", "writeback", "-O", "raw",
            f"json:{json.dumps(of)}", aside.name,
        )  # fmt: skip
        with aside.open("r+b") as made:
            if made.seek(0, os.SEEK_END) < size_bytes:
                made.truncate(size_bytes)
            os.fsync(made.fileno())
        aside.rename(self.path(layer))
        self._settle()

    def flatten(self, layers: Sequence[str], target: Path) -> None:
        """Write what a chain that nobody uses holds into one raw file.

        Raises:
            LayerError: 500, the disk is full.
        """
        source = json.dumps(self.node(layers, "", writable=False))
        self._image("convert", "-q", "-O", "raw", f"json:{source}", str(target))

    def grow(self, layer: str, size_bytes: int) -> None:
        """Make the layer that is written larger; nothing has it open. Never makes it smaller.

        Raises:
            LayerError: 500, the file system refuses.
        """
        path = self.path(layer)
        if _format(layer) == "raw":
            if path.stat().st_size < size_bytes:
                os.truncate(path, size_bytes)
        elif self.size_bytes(layer) < size_bytes:
            self._image("resize", "-q", "-f", "qcow2", path.name, str(size_bytes))

    def size_bytes(self, layer: str) -> int:
        """Return how large the disk in a layer is."""
        path = self.path(layer)
        if _format(layer) == "raw":
            return path.stat().st_size
        with path.open("rb") as file:
            return int.from_bytes(file.read(32)[24:32], "big")

    def remove(self, layer: str) -> None:
        """Remove a layer; who rests on it is the caller's to know."""
        self.path(layer).unlink(missing_ok=True)
        self.path(layer).with_suffix(".new").unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return all layers of this node."""
        with contextlib.suppress(OSError):
            return sorted(
                name for name in os.listdir(self.directory) if name.endswith((_RAW, _QCOW2))
            )
        return []

    def used_bytes(self, layers: Iterable[str]) -> int:
        """Return how much of the disk layers take."""
        found = 0
        for layer in layers:
            with contextlib.suppress(OSError):
                found += self.path(layer).stat().st_blocks * 512
        return found

    def node(self, layers: Sequence[str], name: str, *, writable: bool = True) -> dict[str, Any]:
        """Return the `--blockdev` of a chain, top layer first, with this node name."""
        spec: dict[str, Any] | None = None
        for layer in layers:
            is_top = layer is layers[-1]
            spec = self._layer(layer, spec, writable=writable and is_top)
        if spec is None:
            raise LayerError("A replica has at least one layer")
        if name:
            spec["node-name"] = name
        if writable:
            spec["detect-zeroes"] = "unmap"
        return spec

    def _layer(self, layer: str, backing: Any, *, writable: bool) -> dict[str, Any]:
        # aio=threads: once the process is gone, so are its writes. An io_uring outlives its process a little.
        file = {
            "driver": "file",
            "filename": str(self.path(layer)),
            "aio": "threads",
            "discard": "unmap",
            "read-only": not writable,
        }
        spec: dict[str, Any] = {
            "driver": _format(layer),
            "file": file,
            "discard": "unmap",
            "read-only": not writable,
        }
        if _format(layer) == "qcow2":
            spec["backing"] = backing
        return spec

    def _image(self, *arguments: str) -> None:
        try:
            done = subprocess.run(
                ["qemu-img", *arguments],
                cwd=self.directory,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_IMAGE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LayerError(
                f"qemu-img {arguments[0]} takes longer than {_IMAGE_S:.0f} s"
            ) from error
        if done.returncode:
            raise LayerError(f"qemu-img {arguments[0]}: {done.stderr.strip()[-300:]}")

    def _settle(self) -> None:
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def layer_name(id: str, *, is_overlay: bool) -> str:
    """Return the name of a new layer."""
    return id + (_QCOW2 if is_overlay else _RAW)


def _format(layer: str) -> str:
    return layer.rpartition(".")[2]
