"""Image data between nodes: fetched whole and verified for keeping, or passed on to a client.

An image's data never changes, so a fetch that was cut off goes on where it ended, from whichever node has a copy, and
a client that is served from another node does not notice when that node dies.
"""

import errno
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from node.plugins.image.tables import Image
from node.sdk import DataPort, DiskFull, NodeError, NodeRow, NotFound, Unavailable

log = logging.getLogger("hedgerow.image")

_BLOCK_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


def copy_path(image_id: str) -> str:
    """Return where nodes serve each other an image's data."""
    return f"/image/v2/copies/{image_id}"


def staged_path(image_id: str) -> str:
    """Return where nodes serve each other data that waits for its import."""
    return f"/image/v2/staged/{image_id}"


def digest(path: Path, hashed: "hashlib._Hash | None" = None) -> str:
    """Return the SHA-512 of a file."""
    found = hashed or hashlib.sha512()
    with path.open("rb") as file:
        while data := file.read(_BLOCK_BYTES):
            found.update(data)
    return found.hexdigest()


def fetch(
    port: DataPort,
    image: Image,
    nodes: Sequence[NodeRow],
    path: str,
    part: Path,
    stopping: Callable[[], bool],
) -> None:
    """Bring an image's data into the file `part`, from one node or another, and verify it.

    Raises:
        Unavailable: 503, no node gave all of it; what came stays and is gone on with.
        DiskFull: 507.
    """
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    size_bytes = image.size or 0
    hashed = hashlib.sha512()
    try:
        with part.open("a+b") as file:
            os.fchmod(file.fileno(), 0o600)
            file.seek(0)
            while data := file.read(_BLOCK_BYTES):
                hashed.update(data)
            got = file.tell()
            last: NodeError = Unavailable(f"No node that holds image {image.id} is up")
            for node in nodes:
                try:
                    got = _go_on(port, node, path, got, size_bytes, file.write, hashed, stopping)
                    break
                except (NotFound, Unavailable) as error:
                    log.info("image %s does not come from %s: %s", image.id, node.name, error)
                    got, last = file.tell(), error
            if got < size_bytes:
                raise Unavailable(f"Image {image.id} is not here yet: {last.message}")
            file.flush()
            os.fdatasync(file.fileno())
    except OSError as error:
        if error.errno in _FULL:
            part.unlink(missing_ok=True)
            raise DiskFull(f"There is no room for a copy of image {image.id}") from error
        raise
    if got != size_bytes or hashed.hexdigest() != image.os_hash_value:
        part.unlink(missing_ok=True)
        raise Unavailable(f"The data that came of image {image.id} is damaged: it is fetched again")


def _go_on(
    port: DataPort,
    node: NodeRow,
    path: str,
    got: int,
    size_bytes: int,
    write: Callable[[bytes], int],
    hashed: "hashlib._Hash",
    stopping: Callable[[], bool],
) -> int:
    if got >= size_bytes:
        return got
    with port.get(node.id, path, offset=got) as answer:
        while got <= size_bytes and (data := answer.read(_BLOCK_BYTES)):
            write(data)
            hashed.update(data)
            got += len(data)
            if stopping():
                raise Unavailable("This node goes down")
    return got


def passed_on(
    port: DataPort, nodes: Sequence[NodeRow], path: str, offset: int, length: int
) -> Iterator[bytes]:
    """Yield bytes of an image from other nodes. The first `next` tells whether any of them answers.

    Raises:
        Unavailable: 503, the last of the nodes went away too.
    """
    end = offset + length
    last: NodeError = Unavailable("No node that holds the image's data is up")
    for node in nodes:
        try:
            with port.get(node.id, path, offset=offset, last=end - 1) as answer:
                while offset < end and (data := answer.read(min(_BLOCK_BYTES, end - offset))):
                    offset += len(data)
                    yield data
            if offset >= end:
                return
        except (NotFound, Unavailable) as error:
            log.warning("image data does not come from %s: %s", node.name, error)
            last = error
    raise Unavailable(f"The image's data cannot be had now: {last.message}")
