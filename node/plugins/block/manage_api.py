"""Take over what a driver has left: volumes and snapshots that no row knows.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#volume-manage-extension-os-volume-manage
"""

from typing import Any

from node.plugins.block import backend, lookup, requests, type_rules, volume_rules, volume_view
from node.plugins.block.checks import LooseMetadata, Text255, reference, text_or_none, texts
from node.plugins.block.listing import boolean
from node.plugins.block.manageable import listed, size_gib_of
from node.plugins.block.snapshot_api import held, of_volume, view
from node.plugins.block.tables import Volume
from node.plugins.block.volume_ops import new_snapshot_ops, new_volume_ops
from node.sdk import AnyOp, BadRequest, Context, Frozen, NotFound, Reply, Route

_VOLUMES = "volume_extension:volume_manage"
_LIST = "volume_extension:list_manageable"
_SNAPSHOTS = "snapshot_extension:snapshot_manage"
_LIST_SNAPSHOTS = "snapshot_extension:list_manageable"


class ManagedVolume(Frozen):
    """`volume` of a manage request."""

    ref: dict[str, Any] | str
    host: Text255 | None = None
    cluster: Text255 | None = None
    name: Text255 | None = None
    description: Text255 | None = None
    volume_type: Text255 | None = None
    availability_zone: Text255 | None = None
    metadata: LooseMetadata | None = None
    bootable: bool | str = False


class ManageBody(Frozen):
    """Body of POST /os-volume-manage."""

    volume: ManagedVolume


class ManagedSnapshot(Frozen):
    """`snapshot` of a manage request."""

    volume_id: str
    ref: dict[str, Any] | str
    name: Text255 | None = None
    description: Text255 | None = None
    metadata: LooseMetadata | None = None


class ManageSnapshotBody(Frozen):
    """Body of POST /os-snapshot-manage."""

    snapshot: ManagedSnapshot


def _reference(ref: dict[str, Any] | str) -> str:
    if isinstance(ref, str):
        return ref
    name = ref.get("source-name") or ref.get("source-id")
    if not name:
        raise BadRequest("Invalid input received: the ref must hold 'source-name' or 'source-id'.")
    return str(name)


def manage(ctx: Context) -> Reply:
    """Take over a volume that a driver has left."""
    new: ManagedVolume = ctx.body.volume
    name = _reference(new.ref)
    found = [
        pool
        for pool in backend.pools(ctx.db, ctx.config)
        if new.host in (pool.name, pool.host, pool.node_name)
    ]
    if not found:
        raise BadRequest(f"Invalid input received: there is no host {new.host}.")
    pool = found[0]
    size_gib = size_gib_of(ctx, pool, name)

    def plan() -> tuple[list[AnyOp], Volume]:
        kind = (
            lookup.volume_type(ctx, new.volume_type)
            if new.volume_type
            else type_rules.default_of(ctx.db, ctx.project_id)
        )
        row = Volume(
            id=ctx.ids.uuid(),
            created_at=ctx.now(),
            updated_at=ctx.now(),
            project_id=ctx.project_id,
            user_id=ctx.token.user_id,
            want="present",
            name=text_or_none(new.name),
            description=text_or_none(new.description),
            metadata=texts(new.metadata or {}),
            bootable=boolean(new.bootable, "bootable"),
            size_gib=size_gib,
            type_id=kind.id if kind else "",
            multiattach=kind is not None
            and volume_rules.is_true(kind.extra_specs.get("multiattach")),
            node_id=pool.node_id,
            driver=pool.driver,
            source_type="managed",
            reference=name,
        )
        return new_volume_ops(ctx.db, ctx.config, row), row

    row = requests.transact(ctx, plan)
    shown = volume_view.detail(ctx, row, volume_view.around(ctx, [row]))
    return Reply(status=202, body={"volume": shown})


def manage_snapshot(ctx: Context) -> Reply:
    """Take over a snapshot that a driver has left."""
    new: ManagedSnapshot = ctx.body.snapshot
    name = _reference(new.ref)

    def plan() -> tuple[list[AnyOp], Any]:
        volume = lookup.volume(ctx, reference(new.volume_id, "volume_id"))
        fields: dict[str, Any] = {
            "name": text_or_none(new.name),
            "description": text_or_none(new.description),
            "metadata": texts(new.metadata or {}),
            "reference": name,
        }
        row = of_volume(ctx, volume, fields)
        return [*held(volume), *new_snapshot_ops(ctx.db, ctx.config, row)], row

    row = requests.transact(ctx, plan)
    return Reply(status=202, body={"snapshot": view(ctx, row, detailed=False)})


def _list(ctx: Context, kind: str) -> dict[str, Any]:
    host = ctx.param("host")
    found = [
        pool
        for pool in backend.pools(ctx.db, ctx.config)
        if host in (pool.name, pool.host, pool.node_name)
    ]
    if not host:
        raise BadRequest("Host is a required parameter.")
    if not found:
        raise NotFound(f"Host {host} could not be found.")
    return {
        f"manageable-{kind}s": listed(ctx, found[0], kind, detailed=ctx.path.endswith("detail"))
    }


def list_volumes(ctx: Context) -> dict[str, Any]:
    """List the volumes that could be taken over."""
    return _list(ctx, "volume")


def list_snapshots(ctx: Context) -> dict[str, Any]:
    """List the snapshots that could be taken over."""
    return _list(ctx, "snapshot")


def _routes(
    path: str, handler: Any, index: Any, policies: tuple[str, str], body: Any
) -> tuple[Route, ...]:
    manage_policy, list_policy = policies
    return (
        Route(
            method="POST", path=path, handler=handler, policy=manage_policy, body=body, status=202
        ),
        Route(method="GET", path=path, handler=index, policy=list_policy),
        Route(method="GET", path=f"{path}/detail", handler=index, policy=list_policy),
    )


ROUTES = (
    *_routes("/v3/os-volume-manage", manage, list_volumes, (_VOLUMES, _LIST), ManageBody),
    *_routes("/v3/manageable_volumes", manage, list_volumes, (_VOLUMES, _LIST), ManageBody),
    *_routes(
        "/v3/os-snapshot-manage",
        manage_snapshot,
        list_snapshots,
        (_SNAPSHOTS, _LIST_SNAPSHOTS),
        ManageSnapshotBody,
    ),
    *_routes(
        "/v3/manageable_snapshots",
        manage_snapshot,
        list_snapshots,
        (_SNAPSHOTS, _LIST_SNAPSHOTS),
        ManageSnapshotBody,
    ),
)
