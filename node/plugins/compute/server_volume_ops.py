"""Operations on the volumes of servers that the API and the node share, and the names that guests give them."""

import string
from collections.abc import Iterable, Sequence
from typing import Any

from node.plugins.compute.tables import Server, ServerVolume
from node.sdk import AnyOp, Reader, delete, volumes_of


def volumes_of_server(db: Reader, server_id: str) -> list[ServerVolume]:
    """Return the volumes of a server, those that go included."""
    return db.rows(ServerVolume, server_id=server_id)


def root_of(rows: Iterable[ServerVolume]) -> ServerVolume | None:
    """Return the volume that a server boots from; None: it has a disk of its own."""
    return next((row for row in rows if row.boot_index == 0), None)


def taken_devices(server: Server, rows: Sequence[ServerVolume]) -> set[str]:
    """Return the last letters of the devices that a server has or may have."""
    flavor = server.flavor
    own = 1
    if flavor is not None:
        own += bool(flavor.ephemeral_gib) + bool(flavor.swap_mib)
    letters = set(string.ascii_lowercase[:own])
    return letters | {row.device[-1:] for row in rows}


def next_device(server: Server, rows: Sequence[ServerVolume]) -> str:
    """Return the device of one more volume; "" when there is none left."""
    taken = taken_devices(server, rows) | {
        "y",
        "z",
    }  # the last ones are for rescue and the config drive
    return next((f"/dev/vd{one}" for one in string.ascii_lowercase if one not in taken), "")


def release_volume_ops(db: Reader, hook: Any, server: Server, now_us: int) -> list[AnyOp]:
    """Return the operations by which a server that ends lets go of its volumes, those that go with it included."""
    ops: list[AnyOp] = []
    for row in volumes_of_server(db, server.id):
        ops.append(delete(ServerVolume, row.id))
        ops += volumes_of(hook).detached_ops(db, row.id, now_us, delete=row.delete_on_termination)
    return ops
