"""How a process gets at the store."""

from collections.abc import Callable
from pathlib import Path

from node.plugins.object.store.contract import Store
from node.plugins.object.store.local_access import LocalAccess, SocketBackend
from node.plugins.object.store.map_file import SOCKET_FILE, MapFile, store_directory
from node.plugins.object.store.node_access import NodeAccess
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.object_store import ObjectStore
from node.plugins.object.store.quorum import IndexQuorum
from node.sdk import Clock, Context, DataPort, Unavailable

KEPT = "object.store"


def store_of(ctx: Context) -> Store:
    """Return the store that this API process uses; tests put another one there (`ctx.kept.put`)."""
    found: Store = ctx.kept.get(
        KEPT, lambda: open_store(ctx.config.state_dir, ctx.data_port, ctx.clock)
    )
    return found


def open_store(state_dir: Path, data_port: DataPort, clock: Clock) -> ObjectStore:
    """Return a store over the disks of this node and of all others."""
    directory = store_directory(state_dir)
    map_file = MapFile(directory)
    local = LocalAccess(map_file, SocketBackend(directory / SOCKET_FILE), clock)
    return ObjectStore(IndexQuorum(Nodes(map_file, local, remote_by(data_port), clock), clock))


def remote_by(data_port: DataPort) -> Callable[[str], NodeAccess]:
    """Return what makes the way to another node."""
    del data_port

    def make(node_id: str) -> NodeAccess:
        raise Unavailable(f"node {node_id} cannot be reached")

    return make
