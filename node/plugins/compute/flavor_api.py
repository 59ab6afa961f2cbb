"""Flavors: list, show, create, update, delete.

Source: https://docs.openstack.org/api-ref/compute/#flavors
"""

import re
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import flavor_view, listing
from node.plugins.compute.checks import Name, boolean, integer, printable, printable_name
from node.plugins.compute.faults import field_error, unexpected
from node.plugins.compute.tables import Flavor
from node.sdk import (
    BadRequest,
    Conflict,
    Context,
    Frozen,
    NodeError,
    NotFound,
    Refused,
    Route,
    insert,
)
from node.sdk import check as check_row
from node.sdk import delete as delete_row
from node.sdk import patch as patch_row

_ID = re.compile(r"(?! )[a-zA-Z0-9. _-]+(?<! )")
_SORT_KEYS = {
    "flavorid": "id",
    "id": "id",
    "name": "name",
    "memory_mb": "memory_mib",
    "vcpus": "vcpus",
    "root_gb": "disk_gib",
    "ephemeral_gb": "ephemeral_gib",
    "swap": "swap_mib",
    "rxtx_factor": "rxtx_factor",
    "is_public": "is_public",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "disabled": "id",
    "deleted": "id",
    "deleted_at": "id",
    "description": "description",
    "vcpu_weight": "id",
}


class NewFlavor(Frozen, forbid_unknown_fields=True):
    """`flavor` of a create request; numbers may come as text."""

    name: Name
    ram: int | str
    vcpus: int | str
    disk: int | str
    id: str | int | None = None
    ephemeral: int | str = msgspec.field(default=0, name="OS-FLV-EXT-DATA:ephemeral")
    swap: int | str = 0
    rxtx_factor: float | str = 1.0
    is_public: bool | str = msgspec.field(default=True, name="os-flavor-access:is_public")
    description: str | UnsetType | None = UNSET


class CreateBody(Frozen, forbid_unknown_fields=True):
    """Body of POST /flavors."""

    flavor: NewFlavor


class FlavorChange(Frozen, forbid_unknown_fields=True):
    """`flavor` of an update request."""

    description: str | None


class UpdateBody(Frozen, forbid_unknown_fields=True):
    """Body of PUT /flavors/{flavor_id}."""

    flavor: FlavorChange


def visible(ctx: Context, flavor: Flavor) -> bool:
    """Return whether the caller may know of a flavor."""
    return flavor.is_public or ctx.token.is_admin or ctx.project_id in flavor.projects


def find(ctx: Context, flavor_id: str) -> Flavor:
    """Return a flavor that the caller may use.

    Raises:
        NotFound: 404.
    """
    flavor = ctx.db.get(Flavor, flavor_id)
    if flavor is None or not visible(ctx, flavor):
        raise NotFound(f"Flavor {flavor_id} could not be found.")
    return flavor


def _may_see_specs(ctx: Context) -> bool:
    return ctx.allows(
        "os_compute_api:os-flavor-extra-specs:index", {"project_id": ctx.token.project_id}
    )


def create(ctx: Context) -> dict[str, Any]:
    """Create a flavor."""
    flavor = _new_flavor(ctx, ctx.body.flavor)

    def refused(outcome: Refused) -> NodeError | None:
        if outcome.reason == "exists":
            return Conflict(f"Flavor with ID {flavor.id} already exists.")
        return Conflict(f"Flavor with name {flavor.name} already exists.")

    ctx.transact(lambda: ([insert(flavor)], None), refused=refused)
    return {"flavor": flavor_view.detail(ctx, flavor, extra_specs=_may_see_specs(ctx))}


def _new_flavor(ctx: Context, new: NewFlavor) -> Flavor:
    if ctx.microversion < (2, 55) and new.description is not UNSET:
        raise unexpected("description")
    try:
        rxtx_factor = float(new.rxtx_factor)
    except ValueError:
        rxtx_factor = 0.0
    if not 0 < rxtx_factor < 3.4e38:
        raise field_error("rxtx_factor", new.rxtx_factor, "It is not a number greater than 0")
    description = None if new.description is UNSET else _description(new.description)
    return Flavor(
        id=_flavor_id(ctx, new.id),
        name=printable_name(new.name),
        memory_mib=integer(new.ram, "ram", 1),
        vcpus=integer(new.vcpus, "vcpus", 1),
        disk_gib=integer(new.disk, "disk", 0),
        ephemeral_gib=integer(new.ephemeral, "OS-FLV-EXT-DATA:ephemeral", 0),
        swap_mib=integer(new.swap, "swap", 0),
        rxtx_factor=rxtx_factor,
        is_public=boolean(new.is_public, "os-flavor-access:is_public"),
        description=description,
        created_at=ctx.now(),
    )


def _flavor_id(ctx: Context, wanted: str | int | None) -> str:
    if wanted is None or wanted in {"auto", ""}:
        return ctx.ids.uuid()
    text = str(wanted)
    if len(text) > 255 or not _ID.fullmatch(text):
        raise field_error(
            "id", wanted, "It may hold letters, digits, dots, dashes, underscores and inner spaces"
        )
    return text


def _description(text: str | None) -> str | None:
    if text is not None and len(text) > 65535:
        raise field_error("description", text[:80], "It is longer than 65535 characters")
    return printable(text, "description")


def update(ctx: Context, flavor_id: str) -> dict[str, Any]:
    """Change a flavor's description."""
    description = _description(ctx.body.flavor.description)

    def plan() -> tuple[list[Any], Flavor]:
        flavor = find(ctx, flavor_id)
        changed = msgspec.structs.replace(flavor, description=description)
        ops = [
            check_row(flavor),
            patch_row(Flavor, flavor.id, description=description, updated_at=ctx.now()),
        ]
        return ops, changed

    changed = ctx.transact(plan)
    return {"flavor": flavor_view.detail(ctx, changed, extra_specs=_may_see_specs(ctx))}


def delete(ctx: Context, flavor_id: str) -> None:
    """Delete a flavor; servers keep what they copied of it."""

    def plan() -> tuple[list[Any], None]:
        return [check_row(find(ctx, flavor_id)), delete_row(Flavor, flavor_id)], None

    ctx.transact(plan, frees=True)


def show(ctx: Context, flavor_id: str) -> dict[str, Any]:
    """Show a flavor."""
    flavor = find(ctx, flavor_id)
    return {"flavor": flavor_view.detail(ctx, flavor, extra_specs=_may_see_specs(ctx))}


def index(ctx: Context) -> dict[str, Any]:
    """List flavors."""
    found, links = _list(ctx)
    return {"flavors": [flavor_view.summary(ctx, flavor) for flavor in found], **links}


def detail(ctx: Context) -> dict[str, Any]:
    """List flavors in full."""
    found, links = _list(ctx)
    specs = _may_see_specs(ctx)
    return {"flavors": [flavor_view.detail(ctx, f, extra_specs=specs) for f in found], **links}


def _list(ctx: Context) -> tuple[list[Flavor], dict[str, Any]]:
    listing.check_query(
        ctx, "limit", "marker", "is_public", "minRam", "minDisk", "sort_key", "sort_dir"
    )
    rows = [flavor for flavor in ctx.db.rows(Flavor) if _wanted(ctx, flavor)]
    for name, field in (("minRam", "memory_mib"), ("minDisk", "disk_gib")):
        text = ctx.param(name)
        if text is None:
            continue
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise BadRequest(f"Invalid {name} filter [{text}]")
        rows = [flavor for flavor in rows if getattr(flavor, field) >= int(text)]
    sort_key, sort_dir = ctx.param("sort_key", "flavorid"), ctx.param("sort_dir", "asc")
    if sort_key not in _SORT_KEYS:
        raise field_error("sort_key", sort_key, "It is no field that flavors are sorted by")
    if sort_dir not in {"asc", "desc"}:
        raise field_error("sort_dir", sort_dir, "It is neither asc nor desc")
    field = _SORT_KEYS[sort_key]
    rows.sort(key=lambda row: (getattr(row, field) or type(getattr(row, field))(), row.id))
    if sort_dir == "desc":
        rows.reverse()
    return listing.page(ctx, rows, key=lambda flavor: flavor.id, collection="flavors")


def _wanted(ctx: Context, flavor: Flavor) -> bool:
    """Return whether `is_public` lets a flavor through: administrators see all of them by `none`."""
    if not ctx.token.is_admin:
        return visible(ctx, flavor)
    text = ctx.param("is_public")
    if text is not None and text.lower() == "none":
        return True
    public = listing.boolean(text, default=True)
    if public is None:
        raise BadRequest(f"Invalid is_public filter [{text}]")
    if public:
        return flavor.is_public or (text is None and ctx.project_id in flavor.projects)
    return not flavor.is_public


_MANAGE = "os_compute_api:os-flavor-manage"
ROUTES = (
    Route(method="GET", path="/v2.1/flavors", handler=index, policy="any"),
    Route(method="GET", path="/v2.1/flavors/detail", handler=detail, policy="any"),
    Route(method="GET", path="/v2.1/flavors/{flavor_id}", handler=show, policy="any"),
    Route(
        method="POST",
        path="/v2.1/flavors",
        handler=create,
        policy=f"{_MANAGE}:create",
        body=CreateBody,
    ),
    Route(
        method="PUT",
        path="/v2.1/flavors/{flavor_id}",
        handler=update,
        policy=f"{_MANAGE}:update",
        body=UpdateBody,
        since="2.55",
    ),
    Route(
        method="DELETE",
        path="/v2.1/flavors/{flavor_id}",
        handler=delete,
        policy=f"{_MANAGE}:delete",
        status=202,
    ),
)
