"""Extra specs of flavors and who may use flavors that are not public.

Source: https://docs.openstack.org/api-ref/compute/#flavors-extra-specs-flavors-flavors-extra-specs and
https://docs.openstack.org/api-ref/compute/#flavors-access-flavors-os-flavor-access-flavors-action
"""

import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from node.plugins.compute import extra_spec_rules
from node.plugins.compute.checks import Name
from node.plugins.compute.faults import field_error
from node.plugins.compute.flavor_api import find
from node.plugins.compute.tables import Flavor
from node.sdk import BadRequest, Conflict, Context, Frozen, NotFound, Route, check, patch

_KEY = re.compile(r"[a-zA-Z0-9\-_:. ]{1,255}")
Specs = dict[str, str | int | float]


class SpecsBody(Frozen, forbid_unknown_fields=True):
    """Body of POST …/os-extra_specs."""

    extra_specs: Annotated[Specs, msgspec.Meta(min_length=1)]


class Tenant(Frozen, forbid_unknown_fields=True):
    """Value of addTenantAccess and removeTenantAccess."""

    tenant: Name


def _checked(ctx: Context, specs: Specs) -> dict[str, str]:
    for key, value in specs.items():
        if not _KEY.fullmatch(key):
            raise field_error(
                "extra_specs", specs, f"{key!r} does not match the pattern of extra spec names"
            )
        if isinstance(value, bool) or len(str(value)) > 255:
            raise field_error(key, value, "It is not a text or number of at most 255 characters")
        if ctx.microversion >= (2, 86):
            extra_spec_rules.check(key, str(value))
    return {key: str(value) for key, value in specs.items()}


def _change(ctx: Context, flavor_id: str, change: Callable[[Flavor], dict[str, Any]]) -> None:
    def plan() -> tuple[list[Any], None]:
        flavor = find(ctx, flavor_id)
        return [
            check(flavor),
            patch(Flavor, flavor.id, updated_at=ctx.now(), **change(flavor)),
        ], None

    ctx.transact(plan)


def index(ctx: Context, flavor_id: str) -> dict[str, Any]:
    """List the extra specs of a flavor."""
    return {"extra_specs": find(ctx, flavor_id).extra_specs}


def show(ctx: Context, flavor_id: str, key: str) -> dict[str, Any]:
    """Show one extra spec."""
    specs = find(ctx, flavor_id).extra_specs
    if key not in specs:
        raise NotFound(f"Flavor {flavor_id} has no extra specs with key {key}.")
    return {key: specs[key]}


def create(ctx: Context, flavor_id: str) -> dict[str, Any]:
    """Add extra specs."""
    specs = _checked(ctx, ctx.body.extra_specs)
    _change(ctx, flavor_id, lambda flavor: {"extra_specs": {**flavor.extra_specs, **specs}})
    return {"extra_specs": specs}


def update(ctx: Context, flavor_id: str, key: str) -> dict[str, Any]:
    """Set one extra spec."""
    specs = _checked(ctx, ctx.body)
    if len(specs) != 1:
        raise BadRequest("The request body must hold exactly one extra spec")
    if key not in specs:
        raise BadRequest("Request body and URI mismatch")
    _change(ctx, flavor_id, lambda flavor: {"extra_specs": {**flavor.extra_specs, **specs}})
    return specs


def delete(ctx: Context, flavor_id: str, key: str) -> None:
    """Remove one extra spec."""

    def without(flavor: Flavor) -> dict[str, Any]:
        if key not in flavor.extra_specs:
            raise NotFound(f"Flavor {flavor_id} has no extra specs with key {key}.")
        return {"extra_specs": {k: v for k, v in flavor.extra_specs.items() if k != key}}

    _change(ctx, flavor_id, without)


def _access(flavor_id: str, projects: list[str]) -> dict[str, Any]:
    return {
        "flavor_access": [{"flavor_id": flavor_id, "tenant_id": project} for project in projects]
    }


def access(ctx: Context, flavor_id: str) -> dict[str, Any]:
    """List the projects that may use a flavor which is not public."""
    flavor = find(ctx, flavor_id)
    if flavor.is_public:
        raise NotFound("Access list not available for public flavors.")
    return _access(flavor_id, flavor.projects)


def add_access(ctx: Context, flavor_id: str) -> dict[str, Any]:
    """Let a project use a flavor."""
    tenant: str = ctx.body.tenant

    def added(flavor: Flavor) -> dict[str, Any]:
        if flavor.is_public and ctx.microversion >= (2, 7):
            raise Conflict("Can not add access to a public flavor.")
        if tenant in flavor.projects:
            raise Conflict(
                f"Flavor access already exists for flavor {flavor_id} and project {tenant} combination."
            )
        return {"projects": [*flavor.projects, tenant]}

    _change(ctx, flavor_id, added)
    return _access(flavor_id, find(ctx, flavor_id).projects)


def remove_access(ctx: Context, flavor_id: str) -> dict[str, Any]:
    """Take a flavor away from a project."""
    tenant: str = ctx.body.tenant

    def removed(flavor: Flavor) -> dict[str, Any]:
        if tenant not in flavor.projects:
            raise NotFound(f"Flavor access not found for {flavor_id} / {tenant} combination.")
        return {"projects": [project for project in flavor.projects if project != tenant]}

    _change(ctx, flavor_id, removed)
    return _access(flavor_id, find(ctx, flavor_id).projects)


_SPECS, _ACCESS = "os_compute_api:os-flavor-extra-specs", "os_compute_api:os-flavor-access"
_PATH = "/v2.1/flavors/{flavor_id}/os-extra_specs"
ROUTES = (
    Route(method="GET", path=_PATH, handler=index, policy=f"{_SPECS}:index"),
    Route(method="POST", path=_PATH, handler=create, policy=f"{_SPECS}:create", body=SpecsBody),
    Route(method="GET", path=_PATH + "/{key}", handler=show, policy=f"{_SPECS}:show"),
    Route(
        method="PUT", path=_PATH + "/{key}", handler=update, policy=f"{_SPECS}:update", body=Specs
    ),
    Route(method="DELETE", path=_PATH + "/{key}", handler=delete, policy=f"{_SPECS}:delete"),
    Route(
        method="GET",
        path="/v2.1/flavors/{flavor_id}/os-flavor-access",
        handler=access,
        policy=_ACCESS,
    ),
    Route(
        method="POST",
        path="/v2.1/flavors/{flavor_id}/action",
        action="addTenantAccess",
        handler=add_access,
        policy=f"{_ACCESS}:add_tenant_access",
        body=Tenant,
    ),
    Route(
        method="POST",
        path="/v2.1/flavors/{flavor_id}/action",
        action="removeTenantAccess",
        handler=remove_access,
        policy=f"{_ACCESS}:remove_tenant_access",
        body=Tenant,
    ),
)
