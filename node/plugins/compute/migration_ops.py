"""A server's way to another node and back, as operations on rows: whoever calls commits.

    source: guest off, `hand_over_ops`         node_id = dest, old_node_id = source, migrating
    dest:   fetches disks, boots, `arrived`    resized (to be confirmed), or active at once when nobody asked
    confirm: `forget_source`                   old_node_id = "", the source erases its files
    revert:  dest ends its guest, `hand_back_ops`: node_id = source again, the destination erases its files

Both nodes count the server from its start until the move is confirmed or reverted.
"""

from typing import Any

from node.plugins.compute.server_ops import bind_ops, claim_ops, held_flavor
from node.plugins.compute.tables import Migration, Server
from node.sdk import AnyOp, Reader, check, insert, patch

OPEN = ("queued", "pre-migrating", "migrating", "preparing", "running", "finished")
"""States of a migration that has not come to its end."""
SOURCE_LETS_GO = ("confirmed", "completed")
DEST_LETS_GO = ("reverted", "error", "failed", "cancelled")


def begin_ops(
    server: Server,
    dest: str,
    limits: dict[str, int],
    migration_id: str,
    now_us: int,
    *,
    number: int,
    user_id: str = "",
    kind: str = "migration",
) -> list[AnyOp]:
    """Return the operations that claim the destination and note the migration."""
    flavor = server.flavor
    assert flavor is not None
    row = Migration(
        id=migration_id,
        number=number,
        server_id=server.id,
        job=server.job + 1,
        source_node=server.node_id,
        dest_node=dest,
        migration_type=kind,
        status="queued" if kind == "live-migration" else "pre-migrating",
        user_id=user_id,
        project_id=server.project_id,
        old_flavor_id=flavor.id,
        new_flavor_id=flavor.id,
        created_at=now_us,
        updated_at=now_us,
    )
    return [*claim_ops(dest, held_flavor(server), 1, limits), insert(row)]


def hand_over_ops(db: Reader, hook: Any, server: Server, dest: str, now_us: int) -> list[AnyOp]:
    """Return the operations by which the source gives a server, whose guest is off, to the destination."""
    fields = {
        "node_id": dest,
        "old_node_id": server.node_id,
        "job_step": "",
        "power": 4,
        "updated_at": now_us,
    }
    return [
        check(server),
        patch(Server, server.id, **fields),
        *bind_ops(hook, db, server, dest, now_us),
        *_status_ops(db, server, "migrating", now_us),
    ]


def hand_back_ops(
    db: Reader, hook: Any, server: Server, now_us: int, status: str, **fields: Any
) -> list[AnyOp]:
    """Return the operations by which the destination gives a server back; `fields` are further columns to set."""
    changes = {"node_id": server.old_node_id, "old_node_id": "", "job_step": "", "power": 4}
    return [
        check(server),
        *claim_ops(server.node_id, held_flavor(server), -1, {}),
        patch(Server, server.id, **{**changes, "updated_at": now_us, **fields}),
        *bind_ops(hook, db, server, server.old_node_id, now_us),
        *_status_ops(db, server, status, now_us),
    ]


def leave_source_ops(db: Reader, server: Server, status: str, now_us: int) -> list[AnyOp]:
    """Return the operations after which the source may erase what it has of a server; the caller checks the row."""
    if not server.old_node_id:
        return []
    return [
        *claim_ops(server.old_node_id, held_flavor(server), -1, {}),
        patch(Server, server.id, old_node_id=""),
        *_status_ops(db, server, status, now_us),
    ]


def finished_ops(db: Reader, server: Server, now_us: int) -> list[AnyOp]:
    """Return the operations that note that a server runs on its destination, to be confirmed."""
    return _status_ops(db, server, "finished", now_us)


def lets_go(db: Reader, server_id: str, node_id: str, disk_job: int) -> bool:
    """Say whether the last migration of a server that concerned a node has ended with the server elsewhere.

    `disk_job` is the job for which that node made the disk that it has: a later one belongs to no migration.
    """
    rows = [
        row
        for row in db.rows(Migration, server_id=server_id)
        if row.status and node_id in (row.source_node, row.dest_node)
    ]
    if not rows:
        return False
    last = max(rows, key=lambda row: row.job)
    if last.job < disk_job:
        return False
    if last.source_node == node_id:
        return last.status in SOURCE_LETS_GO
    return last.status in DEST_LETS_GO


def of(db: Reader, server: Server) -> Migration | None:
    """Return the migration of a server that is under way or waits to be confirmed."""
    rows = [row for row in db.rows(Migration, server_id=server.id) if row.status in OPEN]
    return max(rows, key=lambda row: row.job) if rows else None


def cancel_ops(db: Reader, server: Server, now_us: int) -> list[AnyOp]:
    """Return the operations that end the migration of a server that goes, or is given up, whatever it came to.

    They give back what it holds on the node that is not its own.
    """
    row = of(db, server)
    if row is None:
        return []
    other = row.dest_node if row.dest_node != server.node_id else row.source_node
    return [
        *claim_ops(other, held_flavor(server), -1, {}),
        patch(Migration, row.id, status="cancelled", updated_at=now_us),
    ]


def switch_ops(db: Reader, hook: Any, server: Server, dest: str, now_us: int) -> list[AnyOp]:
    """Return the operations by which a server whose guest has moved alive belongs to the destination."""
    return [
        check(server),
        *claim_ops(server.node_id, held_flavor(server), -1, {}),
        patch(Server, server.id, node_id=dest, updated_at=now_us),
        *bind_ops(hook, db, server, dest, now_us),
        *_status_ops(db, server, "completed", now_us),
    ]


def stay_ops(db: Reader, server: Server, now_us: int) -> list[AnyOp]:
    """Return the operations after which the destination may erase what it has prepared."""
    row = of(db, server)
    if row is None:
        return []
    return [
        *claim_ops(row.dest_node, held_flavor(server), -1, {}),
        patch(Migration, row.id, status="error", updated_at=now_us),
    ]


def places(db: Reader, server: Server) -> set[str]:
    """Return the nodes that may have something of a server."""
    moves = db.rows(Migration, server_id=server.id)
    return {server.node_id, *(row.source_node for row in moves), *(row.dest_node for row in moves)}


def _status_ops(db: Reader, server: Server, status: str, now_us: int) -> list[AnyOp]:
    row = of(db, server)
    return [] if row is None else [patch(Migration, row.id, status=status, updated_at=now_us)]
