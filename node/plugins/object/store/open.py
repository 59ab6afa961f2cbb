"""How a process gets at the store."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from node.plugins.object.store.contract import Store
from node.plugins.object.store.local_access import LocalAccess, SocketBackend
from node.plugins.object.store.map_file import SOCKET_FILE, MapFile, store_directory
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.object_store import ObjectStore
from node.plugins.object.store.quorum import IndexQuorum
from node.plugins.object.store.remote_access import RemoteAccess
from node.sdk import Clock, Context, Control, DataPort

KEPT = "object.store"
_OPENED = "object.opened"


class Opened:
    """What a process has of the store: the disks of this node, and the store over all disks."""

    def __init__(self, state_dir: Path, data_port: DataPort, clock: Clock) -> None:
        directory = store_directory(state_dir)
        self.map_file = MapFile(directory)
        self.local = LocalAccess(self.map_file, SocketBackend(directory / SOCKET_FILE), clock)
        self.nodes = Nodes(
            self.map_file, self.local, lambda node_id: RemoteAccess(data_port, node_id), clock
        )
        self.quorum = IndexQuorum(self.nodes, clock)
        self.store = ObjectStore(self.quorum)


def opened(ctx: Context) -> Opened:
    """Return what this API process has of the store."""
    found: Opened = ctx.kept.get(
        _OPENED, lambda: Opened(ctx.config.state_dir, ctx.data_port, ctx.clock)
    )
    return found


def store_of(ctx: Context) -> Store:
    """Return the store that this API process uses; tests put another one there (`ctx.kept.put`)."""
    found: Store = ctx.kept.get(KEPT, lambda: opened(ctx).store)
    return found


def open_store(state_dir: Path, data_port: DataPort, clock: Clock) -> ObjectStore:
    """Return a store over the disks of this node and of all others."""
    return Opened(state_dir, data_port, clock).store


def store_in(control: Control) -> Callable[[], Store]:
    """Return what opens the store in the core process when it is first needed, and keeps it."""
    return cache(lambda: open_store(control.config.state_dir, control.data_port, control.clock))
