"""Metadata of volumes and of snapshots, which are alike.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#create-metadata-for-volume
"""

from collections.abc import Callable
from typing import Any

from node.plugins.block import lookup, requests
from node.plugins.block.checks import LooseMetadata, texts
from node.plugins.block.tables import Snapshot, Volume
from node.sdk import AnyOp, BadRequest, Context, Frozen, NotFound, Reply, Route, check, patch


class MetadataBody(Frozen, forbid_unknown_fields=True):
    """Body of a change of metadata."""

    metadata: LooseMetadata


class ItemBody(Frozen, forbid_unknown_fields=True):
    """Body of a change of one item."""

    meta: LooseMetadata


class _Kind(Frozen):
    """What has metadata."""

    find: Callable[[Context, str, str], Any]
    row_type: type[Volume] | type[Snapshot]
    policy: str
    path: str


_VOLUME = _Kind(
    find=lookup.volume,
    row_type=Volume,
    policy="volume:{}_volume_metadata",
    path="/v3/volumes/{volume_id}",
)
_SNAPSHOT = _Kind(
    find=lookup.snapshot,
    row_type=Snapshot,
    policy="volume:{}_snapshot_metadata",
    path="/v3/snapshots/{snapshot_id}",
)


def _change(
    ctx: Context,
    kind: _Kind,
    id: str,
    verb: str,
    change: Callable[[dict[str, str]], dict[str, str]],
) -> dict[str, str]:
    def plan() -> tuple[list[AnyOp], dict[str, str]]:
        row = kind.find(ctx, id, kind.policy.format(verb))
        after = change(dict(row.metadata))
        fields = {"metadata": after, "updated_at": ctx.now()}
        return [check(row), patch(kind.row_type, row.id, **fields)], after

    return requests.transact(ctx, plan)


def _show(ctx: Context, kind: _Kind, id: str) -> dict[str, Any]:
    return {"metadata": kind.find(ctx, id, kind.policy.format("get")).metadata}


def _add(ctx: Context, kind: _Kind, id: str, verb: str) -> dict[str, Any]:
    new = texts(ctx.body.metadata)
    return {"metadata": _change(ctx, kind, id, verb, lambda old: {**old, **new})}


def _replace(ctx: Context, kind: _Kind, id: str) -> dict[str, Any]:
    new = texts(ctx.body.metadata)
    return {"metadata": _change(ctx, kind, id, "update", lambda _old: new)}


def _show_item(ctx: Context, kind: _Kind, id: str, key: str) -> dict[str, Any]:
    metadata = kind.find(ctx, id, kind.policy.format("get")).metadata
    if key not in metadata:
        raise NotFound(f"Metadata item was not found: {key}")
    return {"meta": {key: metadata[key]}}


def _set_item(ctx: Context, kind: _Kind, id: str, key: str) -> dict[str, Any]:
    new = texts(ctx.body.meta)
    if key not in new:
        raise BadRequest("Request body and URI mismatch")
    if len(new) > 1:
        raise BadRequest("Request body contains too many items")
    _change(ctx, kind, id, "update", lambda old: {**old, **new})
    return {"meta": new}


def _remove_item(ctx: Context, kind: _Kind, id: str, key: str) -> Reply:
    def less(old: dict[str, str]) -> dict[str, str]:
        if key not in old:
            raise NotFound(f"Metadata item was not found: {key}")
        return {name: value for name, value in old.items() if name != key}

    _change(ctx, kind, id, "delete", less)
    return Reply(status=200)


def show(ctx: Context, volume_id: str) -> dict[str, Any]:
    """Show the metadata of a volume."""
    return _show(ctx, _VOLUME, volume_id)


def add(ctx: Context, volume_id: str) -> dict[str, Any]:
    """Add to the metadata of a volume."""
    return _add(ctx, _VOLUME, volume_id, "create")


def replace(ctx: Context, volume_id: str) -> dict[str, Any]:
    """Replace the metadata of a volume."""
    return _replace(ctx, _VOLUME, volume_id)


def show_item(ctx: Context, volume_id: str, key: str) -> dict[str, Any]:
    """Show one item of a volume's metadata."""
    return _show_item(ctx, _VOLUME, volume_id, key)


def set_item(ctx: Context, volume_id: str, key: str) -> dict[str, Any]:
    """Set one item of a volume's metadata."""
    return _set_item(ctx, _VOLUME, volume_id, key)


def remove_item(ctx: Context, volume_id: str, key: str) -> Reply:
    """Remove one item of a volume's metadata."""
    return _remove_item(ctx, _VOLUME, volume_id, key)


def show_of_snapshot(ctx: Context, snapshot_id: str) -> dict[str, Any]:
    """Show the metadata of a snapshot."""
    return _show(ctx, _SNAPSHOT, snapshot_id)


def add_to_snapshot(ctx: Context, snapshot_id: str) -> dict[str, Any]:
    """Add to the metadata of a snapshot."""
    return _add(ctx, _SNAPSHOT, snapshot_id, "update")


def replace_of_snapshot(ctx: Context, snapshot_id: str) -> dict[str, Any]:
    """Replace the metadata of a snapshot."""
    return _replace(ctx, _SNAPSHOT, snapshot_id)


def show_item_of_snapshot(ctx: Context, snapshot_id: str, key: str) -> dict[str, Any]:
    """Show one item of a snapshot's metadata."""
    return _show_item(ctx, _SNAPSHOT, snapshot_id, key)


def set_item_of_snapshot(ctx: Context, snapshot_id: str, key: str) -> dict[str, Any]:
    """Set one item of a snapshot's metadata."""
    return _set_item(ctx, _SNAPSHOT, snapshot_id, key)


def remove_item_of_snapshot(ctx: Context, snapshot_id: str, key: str) -> Reply:
    """Remove one item of a snapshot's metadata."""
    return _remove_item(ctx, _SNAPSHOT, snapshot_id, key)


def _routes(kind: _Kind, handlers: tuple[Any, ...]) -> tuple[Route, ...]:
    whole, item = f"{kind.path}/metadata", f"{kind.path}/metadata/{{key}}"
    shown, added, replaced, one, set_one, removed = handlers
    return (
        Route(method="GET", path=whole, handler=shown, policy="any"),
        Route(method="POST", path=whole, handler=added, policy="any", body=MetadataBody),
        Route(method="PUT", path=whole, handler=replaced, policy="any", body=MetadataBody),
        Route(method="GET", path=item, handler=one, policy="any"),
        Route(method="PUT", path=item, handler=set_one, policy="any", body=ItemBody),
        Route(method="DELETE", path=item, handler=removed, policy="any"),
    )


ROUTES = (
    *_routes(_VOLUME, (show, add, replace, show_item, set_item, remove_item)),
    *_routes(
        _SNAPSHOT,
        (
            show_of_snapshot,
            add_to_snapshot,
            replace_of_snapshot,
            show_item_of_snapshot,
            set_item_of_snapshot,
            remove_item_of_snapshot,
        ),
    ),
)
