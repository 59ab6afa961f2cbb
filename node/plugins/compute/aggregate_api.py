"""Host aggregates, by which administrators group nodes and name availability zones.

Source: https://docs.openstack.org/api-ref/compute/#host-aggregates-os-aggregates
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute.aggregate_rules import ZONE, other_zone
from node.plugins.compute.checks import MetadataKey, Name, Text255, printable_name
from node.plugins.compute.faults import field_error
from node.plugins.compute.tables import Aggregate, Server
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Count,
    Frozen,
    NodeRow,
    NotFound,
    Refused,
    Route,
    check,
    delete,
    insert,
    iso_utc,
    patch,
)

_POLICY = "os_compute_api:os-aggregates"
_COUNTER = "compute:aggregates"


class NewAggregate(Frozen, forbid_unknown_fields=True):
    """`aggregate` of POST os-aggregates."""

    name: Name
    availability_zone: Name | None | UnsetType = UNSET


class NewAggregateBody(Frozen, forbid_unknown_fields=True):
    """Body of POST os-aggregates."""

    aggregate: NewAggregate


class AggregateChange(Frozen, forbid_unknown_fields=True):
    """`aggregate` of PUT os-aggregates/{aggregate_id}."""

    name: Name | UnsetType = UNSET
    availability_zone: Name | None | UnsetType = UNSET


class AggregateChangeBody(Frozen, forbid_unknown_fields=True):
    """Body of PUT os-aggregates/{aggregate_id}."""

    aggregate: AggregateChange


class HostName(Frozen, forbid_unknown_fields=True):
    """Value of `add_host` and `remove_host`."""

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class MetadataChange(Frozen, forbid_unknown_fields=True):
    """Value of `set_metadata`; null takes a key away."""

    metadata: dict[MetadataKey, Text255 | None]


def _find(ctx: Context, aggregate_id: str) -> Aggregate:
    row = ctx.db.get(Aggregate, aggregate_id)
    if row is None:
        if not aggregate_id.removeprefix("-").isdigit():
            raise BadRequest(f"Invalid aggregate id {aggregate_id}: it is no integer")
        raise NotFound(f"Aggregate {aggregate_id} could not be found.")
    return row


def _view(ctx: Context, row: Aggregate, *, full: bool = True) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": int(row.id),
        "name": row.name,
        "availability_zone": row.metadata.get(ZONE),
        "created_at": iso_utc(row.created_at, suffix="", micros=True),
        "updated_at": _when(row),
        "deleted": False,
        "deleted_at": None,
    }
    if full:
        names = {node.id: node.name for node in ctx.db.rows(NodeRow, id=row.node_ids)}
        body["hosts"] = [names[node_id] for node_id in row.node_ids if node_id in names]
        body["metadata"] = row.metadata
    if ctx.microversion >= (2, 41):
        body["uuid"] = row.uuid
    return body


def _when(row: Aggregate) -> str | None:
    changed = row.updated_at != row.created_at
    return iso_utc(row.updated_at, suffix="", micros=True) if changed else None


def _zone_name(zone: str) -> str:
    if ":" in zone:
        raise field_error(ZONE, zone, "An availability zone must not have a colon in its name.")
    return printable_name(zone, ZONE)


def _taken(name: str) -> Callable[[Refused], Conflict | None]:
    def error(refused: Refused) -> Conflict | None:
        unique = refused.reason == "unique" and refused.table == Aggregate.__table__.name
        return Conflict(f"Aggregate {name} already exists.") if unique else None

    return error


def index(ctx: Context) -> dict[str, Any]:
    """List aggregates."""
    return {"aggregates": [_view(ctx, row) for row in ctx.db.rows(Aggregate)]}


def show(ctx: Context, aggregate_id: str) -> dict[str, Any]:
    """Show an aggregate."""
    return {"aggregate": _view(ctx, _find(ctx, aggregate_id))}


def create(ctx: Context) -> dict[str, Any]:
    """Make an aggregate; with a zone's name it is one."""
    new: NewAggregate = ctx.body.aggregate
    name = printable_name(new.name)
    zone = new.availability_zone

    def plan() -> tuple[list[AnyOp], Aggregate]:
        if ctx.db.one(Aggregate, name=name) is not None:
            raise Conflict(f"Aggregate {name} already exists.")
        now = ctx.now()
        row = Aggregate(
            id=str(ctx.db.counter(_COUNTER) + 1),
            uuid=ctx.ids.uuid(),
            name=name,
            metadata={ZONE: _zone_name(zone)} if isinstance(zone, str) else {},
            created_at=now,
            updated_at=now,
        )
        return [insert(row), Count(_COUNTER, 1)], row

    return {"aggregate": _view(ctx, ctx.transact(plan), full=False)}


def update(ctx: Context, aggregate_id: str) -> dict[str, Any]:
    """Change name or zone."""
    change: AggregateChange = ctx.body.aggregate
    if change.name is UNSET and change.availability_zone is UNSET:
        raise BadRequest(
            "Invalid input for field/attribute aggregate. Value: {}. {} does not have enough properties"
        )
    fields: dict[str, Any] = {}
    if isinstance(change.name, str):
        fields["name"] = printable_name(change.name)
    metadata: dict[str, str | None] = {}
    if change.availability_zone is not UNSET:
        metadata[ZONE] = change.availability_zone
    return _change(ctx, aggregate_id, metadata, fields)


def set_metadata(ctx: Context, aggregate_id: str) -> dict[str, Any]:
    """Set and take away metadata; what is not named stays."""
    return _change(ctx, aggregate_id, ctx.body.metadata, {})


def _change(
    ctx: Context, aggregate_id: str, metadata: dict[str, str | None], fields: dict[str, Any]
) -> dict[str, Any]:
    def plan() -> tuple[list[AnyOp], None]:
        row = _find(ctx, aggregate_id)
        merged = {k: v for k, v in {**row.metadata, **metadata}.items() if v is not None}
        if merged.get(ZONE) != row.metadata.get(ZONE):
            _check_zone(ctx, row, merged.get(ZONE, ""))
        changes = {**fields, "metadata": merged, "updated_at": ctx.now()}
        return [check(row), patch(Aggregate, row.id, **changes)], None

    ctx.transact(plan, refused=_taken(str(fields.get("name", ""))))
    return show(ctx, aggregate_id)


def _check_zone(ctx: Context, row: Aggregate, zone: str) -> None:
    """Refuse a zone that would put a node in two, or move servers to another one."""
    if zone:
        _zone_name(zone)
    there = other_zone(ctx.db.rows(Aggregate), row, zone) if zone else ""
    if there:
        raise BadRequest(f"Cannot update aggregate {row.id}. A host is in zone {there} already.")
    if any(ctx.db.one(Server, node_id=node_id) for node_id in row.node_ids):
        raise BadRequest(
            f"Cannot update aggregate {row.id}. One or more hosts contain instances in this zone."
        )


def remove(ctx: Context, aggregate_id: str) -> None:
    """Delete an aggregate that has no hosts."""

    def plan() -> tuple[list[AnyOp], None]:
        row = _find(ctx, aggregate_id)
        if row.node_ids:
            raise BadRequest(f"Cannot remove host aggregate {aggregate_id}: it is not empty.")
        return [check(row), delete(Aggregate, row.id)], None

    ctx.transact(plan)


def _host(ctx: Context) -> NodeRow:
    node = ctx.db.one(NodeRow, name=ctx.body.host)
    if node is None:
        raise NotFound(f"Compute host {ctx.body.host} could not be found.")
    return node


def add_host(ctx: Context, aggregate_id: str) -> dict[str, Any]:
    """Put a node in an aggregate."""

    def plan() -> tuple[list[AnyOp], None]:
        row, node = _find(ctx, aggregate_id), _host(ctx)
        if node.id in row.node_ids:
            raise Conflict(f"Host {node.name} is in aggregate {aggregate_id} already.")
        after = msgspec.structs.replace(row, node_ids=[*row.node_ids, node.id])
        zone = row.metadata.get(ZONE, "")
        there = other_zone(ctx.db.rows(Aggregate), after, zone) if zone else ""
        if there:
            raise Conflict(f"Cannot add host to aggregate {row.id}: it is in zone {there} already.")
        fields = {"node_ids": after.node_ids, "updated_at": ctx.now()}
        return [check(row), patch(Aggregate, row.id, **fields)], None

    ctx.transact(plan)
    return show(ctx, aggregate_id)


def remove_host(ctx: Context, aggregate_id: str) -> dict[str, Any]:
    """Take a node out of an aggregate."""

    def plan() -> tuple[list[AnyOp], None]:
        row, node = _find(ctx, aggregate_id), _host(ctx)
        if node.id not in row.node_ids:
            raise NotFound(f"Aggregate {aggregate_id} has no host {node.name}.")
        kept = [one for one in row.node_ids if one != node.id]
        return [check(row), patch(Aggregate, row.id, node_ids=kept, updated_at=ctx.now())], None

    ctx.transact(plan)
    return show(ctx, aggregate_id)


_PATH = "/v2.1/os-aggregates"
_ONE = _PATH + "/{aggregate_id}"


def _action(name: str, handler: Any, body: Any) -> Route:
    return Route(
        method="POST",
        path=_ONE + "/action",
        action=name,
        handler=handler,
        policy=f"{_POLICY}:{name}",
        body=body,
    )


ROUTES = (
    Route(method="GET", path=_PATH, handler=index, policy=f"{_POLICY}:index"),
    Route(
        method="POST",
        path=_PATH,
        handler=create,
        policy=f"{_POLICY}:create",
        body=NewAggregateBody,
    ),
    Route(method="GET", path=_ONE, handler=show, policy=f"{_POLICY}:show"),
    Route(
        method="PUT",
        path=_ONE,
        handler=update,
        policy=f"{_POLICY}:update",
        body=AggregateChangeBody,
    ),
    Route(method="DELETE", path=_ONE, handler=remove, policy=f"{_POLICY}:delete", status=200),
    _action("add_host", add_host, HostName),
    _action("remove_host", remove_host, HostName),
    _action("set_metadata", set_metadata, MetadataChange),
)
