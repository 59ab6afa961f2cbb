"""What a server's node serves the node that the server moves to: the files of a guest that is off."""

from pathlib import Path

import msgspec

from node.plugins.compute import disk, migration_ops, names
from node.plugins.compute.migration_fetch import (
    FILES_PATH,
    STILL,
    FileFacts,
    Manifest,
    base_of,
    moved_files,
)
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.tables import Server
from node.sdk import Context, NotFound, RangeNotSatisfiable, Reply, Route


def manifest(ctx: Context, server_id: str) -> Reply:
    """List the files of a server that moves to the node that asks."""
    _check(ctx, server_id, live=True)
    state_dir = ctx.config.state_dir
    base = base_of(ServerFiles(state_dir), state_dir, server_id)
    found = Manifest(
        files=[
            FileFacts(name=path.name, size=path.stat().st_size, virtual=_virtual(path))
            for path in moved_files(state_dir, server_id)
        ],
        base=None if base is None else FileFacts(name=base.name, size=base.stat().st_size),
    )
    return Reply(body=msgspec.json.encode(found), content_type="application/json")


def content(ctx: Context, server_id: str, name: str) -> Reply:
    """Send one file of such a server, or the image that its disk rests on, from a byte on."""
    _check(ctx, server_id, live=name in STILL)
    state_dir = ctx.config.state_dir
    base = base_of(ServerFiles(state_dir), state_dir, server_id)
    paths = {path.name: path for path in moved_files(state_dir, server_id)}
    if base is not None:
        paths[base.name] = base
    path = paths.get(name)
    if path is None:
        raise NotFound(f"Instance {server_id} has no file {name}.")
    size, offset = path.stat().st_size, _offset(ctx)
    if offset > size:
        raise RangeNotSatisfiable(f"{name} has {size} bytes")
    length = size - offset
    return Reply(
        status=206 if offset else 200,
        content_type="application/octet-stream",
        headers={"Content-Range": f"bytes {offset}-{size - 1}/{size}"} if offset else {},
        length_bytes=length,
        file=(str(path), offset, length),
    )


def _offset(ctx: Context) -> int:
    first = ctx.headers.get("range", "").removeprefix("bytes=").rstrip("-")
    return int(first) if first.isascii() and first.isdigit() else 0


def _virtual(path: Path) -> int:
    """Return the bytes that a guest sees of a disk, 0 for what is no disk of a format."""
    return disk.size_of(path) if path.name == "disk" else 0


def _check(ctx: Context, server_id: str, *, live: bool) -> None:
    """Refuse whoever is not the node that the server moves to: it alone may have these data.

    `live`: also while the guest runs here, for what does not change then.
    """
    server = ctx.db.get(Server, server_id)
    moves_here = server is not None and (server.old_node_id, server.node_id) == (
        ctx.node_id,
        ctx.peer,
    )
    if live and server is not None and server.node_id == ctx.node_id:
        migration = migration_ops.of(ctx.db, server)
        moves_here = migration is not None and migration.dest_node == ctx.peer
    if not moves_here or not names.server_dir(ctx.config.state_dir, server_id).is_dir():
        raise NotFound(f"Instance {server_id} could not be found.")


ROUTES = (
    Route(method="GET", path=FILES_PATH, handler=manifest, policy="public", peers_only=True),
    Route(
        method="GET",
        path=f"{FILES_PATH}/{{name}}",
        handler=content,
        policy="public",
        peers_only=True,
    ),
)
