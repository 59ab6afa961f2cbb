"""QoS specs, and the volume types that have them.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#quality-of-service-qos-specifications-qos-specs
"""

from typing import Any

from node.plugins.block import listing, lookup
from node.plugins.block.checks import Name, Specs, specs_of
from node.plugins.block.listing import boolean
from node.plugins.block.lookup import links
from node.plugins.block.tables import QosSpec, VolumeType
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Frozen,
    NodeError,
    NotFound,
    Refused,
    Reply,
    Route,
    check,
    delete,
    insert,
    patch,
)

_CONSUMERS = ("front-end", "back-end", "both")
_POLICY = "volume_extension:qos_specs_manage"


class CreateBody(Frozen):
    """Body of POST /qos-specs."""

    qos_specs: Specs


class KeysBody(Frozen):
    """Body of PUT delete_keys."""

    keys: list[Name]


def view(row: QosSpec) -> dict[str, Any]:
    """Return a QoS spec as JSON."""
    return {"id": row.id, "name": row.name, "consumer": row.consumer, "specs": row.specs}


def index(ctx: Context) -> dict[str, Any]:
    """List QoS specs."""
    found, more = listing.page(
        ctx,
        ctx.db.rows(QosSpec),
        key=lambda row: row.id,
        collection="qos_specs",
        sort={
            "created_at": lambda row: row.created_at,
            "id": lambda row: row.id,
            "name": lambda row: row.name,
            "consumer": lambda row: row.consumer,
        },
    )
    return {"qos_specs": [view(row) for row in found], **more}


def show(ctx: Context, qos_id: str) -> dict[str, Any]:
    """Show a QoS spec."""
    row = lookup.qos(ctx, qos_id)
    return {"qos_specs": view(row), "links": links(ctx, "qos-specs", row.id)}


def create(ctx: Context) -> dict[str, Any]:
    """Create a QoS spec."""
    specs = specs_of(ctx.body.qos_specs)
    name = specs.pop("name", "")
    consumer = specs.pop("consumer", "back-end") or "back-end"
    if not name or len(name) > 255:
        raise BadRequest("Invalid input received: qos_specs name must have 1 to 255 characters")
    _check_consumer(consumer)
    row = QosSpec(
        id=ctx.ids.uuid(),
        created_at=ctx.now(),
        updated_at=ctx.now(),
        name=name,
        consumer=consumer,
        specs=specs,
    )

    def taken(outcome: Refused) -> NodeError | None:
        return Conflict(f"QoS Specs {name} already exists.") if outcome.reason == "unique" else None

    ctx.transact(lambda: ([insert(row)], None), refused=taken)
    return {"qos_specs": view(row), "links": links(ctx, "qos-specs", row.id)}


def _check_consumer(consumer: str) -> None:
    if consumer not in _CONSUMERS:
        raise BadRequest(f"Invalid qos specs: Valid consumer of QoS specs are: {list(_CONSUMERS)}")


def update(ctx: Context, qos_id: str) -> dict[str, Any]:
    """Set keys of a QoS spec."""
    given = specs_of(ctx.body.qos_specs)
    consumer = given.get("consumer")
    if consumer is not None:
        _check_consumer(consumer)

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.qos(ctx, qos_id)
        specs = {k: v for k, v in given.items() if k != "consumer"}
        fields: dict[str, Any] = {"specs": {**row.specs, **specs}, "updated_at": ctx.now()}
        if consumer is not None:
            fields["consumer"] = consumer
        return [check(row), patch(QosSpec, row.id, **fields)], None

    ctx.transact(plan)
    return {"qos_specs": given}


def delete_keys(ctx: Context, qos_id: str) -> Reply:
    """Remove keys of a QoS spec."""
    keys = ctx.body.keys

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.qos(ctx, qos_id)
        for key in keys:
            if key not in row.specs:
                raise BadRequest(f"QoS spec {qos_id} has no spec with key {key}.")
        specs = {name: value for name, value in row.specs.items() if name not in keys}
        return [check(row), patch(QosSpec, row.id, specs=specs, updated_at=ctx.now())], None

    ctx.transact(plan)
    return Reply(status=202)


def remove(ctx: Context, qos_id: str) -> Reply:
    """Delete a QoS spec; with `force` also one that volume types have."""
    force = boolean(ctx.param("force", "false"), "force")

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.qos(ctx, qos_id)
        kinds = ctx.db.rows(VolumeType, qos_id=row.id)
        if kinds and not force:
            raise BadRequest(
                f"Invalid qos specs: QoS Specs {qos_id} is still associated with entities."
            )
        ops: list[AnyOp] = [check(row), delete(QosSpec, row.id, must_exist=True)]
        for kind in kinds:
            ops += [check(kind), patch(VolumeType, kind.id, qos_id="")]
        return ops, None

    ctx.transact(plan)
    return Reply(status=202)


def associations(ctx: Context, qos_id: str) -> dict[str, Any]:
    """List the volume types that have a QoS spec."""
    row = lookup.qos(ctx, qos_id)
    shown = [
        {"association_type": "volume_type", "name": kind.name, "id": kind.id}
        for kind in ctx.db.rows(VolumeType, qos_id=row.id)
    ]
    return {"qos_associations": shown}


def _type_param(ctx: Context) -> str:
    text = ctx.param("vol_type_id")
    if not text:
        raise BadRequest("Volume Type id must not be None.")
    return text


def associate(ctx: Context, qos_id: str) -> Reply:
    """Give a volume type a QoS spec."""
    type_id = _type_param(ctx)

    def plan() -> tuple[list[AnyOp], None]:
        row, kind = lookup.qos(ctx, qos_id), lookup.volume_type(ctx, type_id)
        if kind.qos_id and kind.qos_id != row.id:
            raise BadRequest(
                f"Invalid volume type: Type {type_id} is already associated with another qos specs: {kind.qos_id}"
            )
        ops: list[AnyOp] = [check(row), check(kind)]
        return [*ops, patch(VolumeType, kind.id, qos_id=row.id, updated_at=ctx.now())], None

    ctx.transact(plan)
    return Reply(status=202)


def disassociate(ctx: Context, qos_id: str) -> Reply:
    """Take a QoS spec from a volume type."""
    type_id = _type_param(ctx)

    def plan() -> tuple[list[AnyOp], None]:
        row, kind = lookup.qos(ctx, qos_id), lookup.volume_type(ctx, type_id)
        if kind.qos_id != row.id:
            raise NotFound(f"Volume type {type_id} is not associated with qos specs {qos_id}.")
        return [check(kind), patch(VolumeType, kind.id, qos_id="", updated_at=ctx.now())], None

    ctx.transact(plan)
    return Reply(status=202)


def disassociate_all(ctx: Context, qos_id: str) -> Reply:
    """Take a QoS spec from all volume types."""

    def plan() -> tuple[list[AnyOp], None]:
        row = lookup.qos(ctx, qos_id)
        ops: list[AnyOp] = []
        for kind in ctx.db.rows(VolumeType, qos_id=row.id):
            ops += [check(kind), patch(VolumeType, kind.id, qos_id="", updated_at=ctx.now())]
        return ops, None

    ctx.transact(plan)
    return Reply(status=202)


_QOS = "/v3/qos-specs/{qos_id}"


def _get(name: str, handler: Any, verb: str) -> Route:
    return Route(method="GET", path=f"{_QOS}/{name}", handler=handler, policy=f"{_POLICY}:{verb}")


ROUTES = (
    Route(method="GET", path="/v3/qos-specs", handler=index, policy=f"{_POLICY}:get_all"),
    Route(
        method="POST",
        path="/v3/qos-specs",
        handler=create,
        policy=f"{_POLICY}:create",
        body=CreateBody,
    ),
    Route(method="GET", path=_QOS, handler=show, policy=f"{_POLICY}:get"),
    Route(method="PUT", path=_QOS, handler=update, policy=f"{_POLICY}:update", body=CreateBody),
    Route(method="DELETE", path=_QOS, handler=remove, policy=f"{_POLICY}:delete", status=202),
    Route(
        method="PUT",
        path=f"{_QOS}/delete_keys",
        handler=delete_keys,
        policy=f"{_POLICY}:update",
        body=KeysBody,
        status=202,
    ),
    _get("associations", associations, "get"),
    _get("associate", associate, "update"),
    _get("disassociate", disassociate, "update"),
    _get("disassociate_all", disassociate_all, "update"),
)
