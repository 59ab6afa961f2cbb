"""Extra specs and encryption of volume types.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#volume-types-types
"""

from typing import Any

from node.plugins.block.checks import Name, Specs, specs_of
from node.plugins.block.listing import stamp
from node.plugins.block.lookup import may_use_type
from node.plugins.block.tables import Volume, VolumeType
from node.sdk import (
    AnyOp,
    BadRequest,
    Context,
    Frozen,
    NotFound,
    Reply,
    Route,
    check,
    patch,
)

_TYPE = "/v3/types/{type_id}"
_SPECS = "volume_extension:types_extra_specs"
_ENCRYPTION = "volume_extension:volume_type_encryption"
_SEEN_BY_ALL = frozenset({"multiattach", "RESKEY:availability_zones", "replication_enabled"})
_PLACES = ("front-end", "back-end")


class SpecsBody(Frozen, forbid_unknown_fields=True):
    """Body of POST extra_specs."""

    extra_specs: Specs


class NewEncryption(Frozen, forbid_unknown_fields=True):
    """`encryption` of a create request."""

    provider: Name
    control_location: str
    cipher: str | None = None
    key_size: int | str | None = None


class EncryptionChange(Frozen, forbid_unknown_fields=True):
    """`encryption` of an update request."""

    provider: Name | None = None
    control_location: str | None = None
    cipher: str | None = None
    key_size: int | str | None = None


class EncryptionBody(Frozen, forbid_unknown_fields=True):
    """Body of POST encryption."""

    encryption: NewEncryption


class EncryptionChangeBody(Frozen, forbid_unknown_fields=True):
    """Body of PUT encryption."""

    encryption: EncryptionChange


def _must(ctx: Context, type_id: str) -> VolumeType:
    row = ctx.db.get(VolumeType, type_id)
    if row is None or not may_use_type(ctx, row):
        raise NotFound(f"Volume type {type_id} could not be found.")
    return row


def _seen(ctx: Context, row: VolumeType) -> dict[str, str]:
    if ctx.allows(f"{_SPECS}:read_sensitive"):
        return row.extra_specs
    return {name: value for name, value in row.extra_specs.items() if name in _SEEN_BY_ALL}


def _put(ctx: Context, type_id: str, change: Any) -> None:
    def plan() -> tuple[list[AnyOp], None]:
        row = _must(ctx, type_id)
        specs = change(dict(row.extra_specs))
        if _shared(specs) != _shared(row.extra_specs) and ctx.db.count(Volume, type_id=row.id):
            raise BadRequest(
                f"Volume Type is currently in use. Unable to change multiattach of {row.name}."
            )
        return [
            check(row),
            patch(VolumeType, row.id, extra_specs=specs, updated_at=ctx.now()),
        ], None

    ctx.transact(plan)


def _shared(specs: dict[str, str]) -> str:
    return specs.get("multiattach", "")


def index(ctx: Context, type_id: str) -> dict[str, Any]:
    """List the extra specs of a volume type."""
    return {"extra_specs": _seen(ctx, _must(ctx, type_id))}


def create(ctx: Context, type_id: str) -> dict[str, Any]:
    """Add extra specs."""
    new = specs_of(ctx.body.extra_specs)
    _put(ctx, type_id, lambda old: {**old, **new})
    return {"extra_specs": new}


def show(ctx: Context, type_id: str, key: str) -> dict[str, Any]:
    """Show one extra spec."""
    specs = _seen(ctx, _must(ctx, type_id))
    if key not in specs:
        raise NotFound(f"Volume Type {type_id} has no extra specs with key {key}.")
    return {key: specs[key]}


def update(ctx: Context, type_id: str, key: str) -> dict[str, Any]:
    """Set one extra spec."""
    body = ctx.body
    if not body:
        raise BadRequest("Request body empty")
    if key not in body:
        raise BadRequest("Request body and URI mismatch")
    if len(body) > 1:
        raise BadRequest("Request body contains too many items")
    new = specs_of(body)
    _put(ctx, type_id, lambda old: {**old, **new})
    return new


def remove(ctx: Context, type_id: str, key: str) -> Reply:
    """Remove one extra spec."""

    def less(old: dict[str, str]) -> dict[str, str]:
        if key not in old:
            raise NotFound(f"Volume Type {type_id} has no extra specs with key {key}.")
        return {name: value for name, value in old.items() if name != key}

    _put(ctx, type_id, less)
    return Reply(status=202)


def _size(value: int | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise BadRequest("Invalid input received: key_size must be non-negative")
    if int(value) < 0 or int(value) > 0x7FFFFFFF:
        raise BadRequest("Invalid input received: key_size must be non-negative")
    return str(int(value))


def _encryption_view(row: VolumeType) -> dict[str, Any]:
    has = row.encryption
    return {
        "volume_type_id": row.id,
        "encryption_id": has.get("encryption_id", ""),
        "provider": has.get("provider", ""),
        "control_location": has.get("control_location", ""),
        "cipher": has.get("cipher") or None,
        "key_size": int(has["key_size"]) if has.get("key_size") else None,
    }


def show_encryption(ctx: Context, type_id: str) -> dict[str, Any]:
    """Show how volumes of a type are encrypted; nothing where they are not."""
    row = _must(ctx, type_id)
    if not row.encryption:
        return {}
    times = {"created_at": stamp(row.created_at), "updated_at": stamp(row.updated_at)}
    return {**_encryption_view(row), **times, "deleted": False, "deleted_at": None}


def show_encryption_item(ctx: Context, type_id: str, key: str) -> dict[str, Any]:
    """Show one item of it."""
    row = _must(ctx, type_id)
    view = _encryption_view(row)
    if not row.encryption or key not in view:
        raise NotFound(f"There is no encryption spec {key} of volume type {type_id}.")
    return {key: view[key]}


def create_encryption(ctx: Context, type_id: str) -> dict[str, Any]:
    """Have volumes of a type encrypted from now on."""
    body: NewEncryption = ctx.body.encryption
    _check_place(body.control_location)
    new = {
        "encryption_id": ctx.ids.uuid(),
        "provider": body.provider,
        "control_location": body.control_location,
        "cipher": body.cipher or "",
        "key_size": _size(body.key_size),
    }

    def plan() -> tuple[list[AnyOp], VolumeType]:
        row = _must(ctx, type_id)
        _unused(ctx, row, "create")
        if row.encryption:
            raise BadRequest(f"Volume type encryption for type {type_id} already exists.")
        return [check(row), patch(VolumeType, row.id, encryption=new)], row

    ctx.transact(plan)
    return {"encryption": _encryption_view(_must(ctx, type_id))}


def update_encryption(ctx: Context, type_id: str, encryption_id: str) -> dict[str, Any]:
    """Change how volumes of a type are encrypted."""
    body: EncryptionChange = ctx.body.encryption
    if body.control_location is not None:
        _check_place(body.control_location)
    given: dict[str, str] = {}
    for name in ("provider", "control_location", "cipher"):
        if getattr(body, name) is not None:
            given[name] = getattr(body, name)
    if body.key_size is not None:
        given["key_size"] = _size(body.key_size)

    def plan() -> tuple[list[AnyOp], None]:
        row = _encrypted(ctx, type_id, encryption_id)
        _unused(ctx, row, "update")
        return [check(row), patch(VolumeType, row.id, encryption={**row.encryption, **given})], None

    ctx.transact(plan)
    shown: dict[str, Any] = dict(given)
    if shown.get("key_size"):
        shown["key_size"] = int(shown["key_size"])
    return {"encryption": shown}


def remove_encryption(ctx: Context, type_id: str, encryption_id: str) -> Reply:
    """Have volumes of a type encrypted no more."""

    def plan() -> tuple[list[AnyOp], None]:
        row = _encrypted(ctx, type_id, encryption_id)
        _unused(ctx, row, "delete")
        return [check(row), patch(VolumeType, row.id, encryption={})], None

    ctx.transact(plan)
    return Reply(status=202)


def _encrypted(ctx: Context, type_id: str, encryption_id: str) -> VolumeType:
    row = _must(ctx, type_id)
    if row.encryption.get("encryption_id") != encryption_id:
        raise NotFound(f"Volume type encryption for type {type_id} does not exist.")
    return row


def _unused(ctx: Context, row: VolumeType, verb: str) -> None:
    if ctx.db.count(Volume, type_id=row.id):
        raise BadRequest(f"Cannot {verb} encryption specs. Volume type in use.")


def _check_place(text: str) -> None:
    if text not in _PLACES:
        raise BadRequest(f"Invalid input for field/attribute control_location. Value: {text}.")


_ITEM = f"{_TYPE}/extra_specs/{{key}}"
_CHANGE = f"{_TYPE}/encryption/{{encryption_id}}"

ROUTES = (
    Route(method="GET", path=f"{_TYPE}/extra_specs", handler=index, policy=f"{_SPECS}:index"),
    Route(
        method="POST",
        path=f"{_TYPE}/extra_specs",
        handler=create,
        policy=f"{_SPECS}:create",
        body=SpecsBody,
    ),
    Route(method="GET", path=_ITEM, handler=show, policy=f"{_SPECS}:show"),
    Route(method="PUT", path=_ITEM, handler=update, policy=f"{_SPECS}:update", body=Specs),
    Route(method="DELETE", path=_ITEM, handler=remove, policy=f"{_SPECS}:delete", status=202),
    Route(
        method="GET",
        path=f"{_TYPE}/encryption",
        handler=show_encryption,
        policy=f"{_ENCRYPTION}:get",
    ),
    Route(
        method="GET",
        path=f"{_TYPE}/encryption/{{key}}",
        handler=show_encryption_item,
        policy=f"{_ENCRYPTION}:get",
    ),
    Route(
        method="POST",
        path=f"{_TYPE}/encryption",
        handler=create_encryption,
        policy=f"{_ENCRYPTION}:create",
        body=EncryptionBody,
    ),
    Route(
        method="PUT",
        path=_CHANGE,
        handler=update_encryption,
        policy=f"{_ENCRYPTION}:update",
        body=EncryptionChangeBody,
    ),
    Route(
        method="DELETE",
        path=_CHANGE,
        handler=remove_encryption,
        policy=f"{_ENCRYPTION}:delete",
        status=202,
    ),
)
