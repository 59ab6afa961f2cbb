"""What drivers have left: rows that nodes write about data that no volume and no snapshot names."""

from typing import Any

from node.plugins.block.backend import Pool
from node.plugins.block.tables import LeftData, Snapshot, Volume
from node.sdk import BadRequest, Context


def left_id(node_id: str, kind: str, reference: str) -> str:
    """Return the id of the row about something left."""
    return f"{node_id}/{kind}/{reference}"


def find(ctx: Context, node_id: str, kind: str, reference: str) -> LeftData:
    """Return what is known of something left.

    Raises:
        BadRequest: 400, there is no such thing.
    """
    row = ctx.db.get(LeftData, left_id(node_id, kind, reference))
    if row is None:
        raise BadRequest(
            f"Invalid input received: Existing {kind} reference {reference} could not be found."
        )
    return row


def size_gib_of(ctx: Context, pool: Pool, reference: str) -> int:
    """Return the size of a volume that was left.

    Raises:
        BadRequest: 400, there is no such volume.
    """
    return find(ctx, pool.node_id, "volume", reference).size_gib


def listed(ctx: Context, pool: Pool, kind: str, *, detailed: bool) -> list[dict[str, Any]]:
    """Return what a list of manageable things shows: what is managed already, and what is not."""
    shown = [
        _entry(left.reference, left.size_gib, left.volume_id, "", kind, detailed=detailed)
        for left in ctx.db.rows(LeftData, node_id=pool.node_id, kind=kind)
    ]
    rows: list[Any] = list(
        ctx.db.rows(Volume if kind == "volume" else Snapshot, node_id=pool.node_id)
    )
    for row in rows:
        name = f"volume-{row.id}" if kind == "volume" else f"_snapshot-{row.id}"
        volume_id = "" if kind == "volume" else row.volume_id
        shown.append(_entry(name, row.size_gib, volume_id, row.id, kind, detailed=detailed))
    return shown


def _entry(
    name: str, size_gib: int, volume_id: str, managed_id: str, kind: str, *, detailed: bool
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "reference": {"source-name": name},
        "size": size_gib,
        "safe_to_manage": not managed_id,
    }
    if kind == "snapshot":
        entry["source_reference"] = {"source-name": f"volume-{volume_id}"}
    if detailed:
        entry |= {
            "reason_not_safe": f"already managed as {managed_id}" if managed_id else None,
            "cinder_id": managed_id or None,
            "extra_info": None,
        }
    return entry
