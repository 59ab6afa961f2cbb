"""Flavors as Nova shows them."""

from typing import Any

from node.plugins.compute.link_view import self_links
from node.plugins.compute.tables import Flavor, FlavorFacts
from node.sdk import Context


def summary(ctx: Context, flavor: Flavor) -> dict[str, Any]:
    """Return a flavor's entry in the plain list."""
    body: dict[str, Any] = {
        "id": flavor.id,
        "name": flavor.name,
        "links": self_links(ctx, "flavors", flavor.id),
    }
    if ctx.microversion >= (2, 55):
        body["description"] = flavor.description
    return body


def detail(ctx: Context, flavor: Flavor, *, extra_specs: bool) -> dict[str, Any]:
    """Return a flavor in full; `extra_specs` says whether the caller may see them."""
    body = summary(ctx, flavor) | {
        "ram": flavor.memory_mib,
        "disk": flavor.disk_gib,
        "vcpus": flavor.vcpus,
        "swap": flavor.swap_mib or (0 if ctx.microversion >= (2, 75) else ""),
        "rxtx_factor": flavor.rxtx_factor,
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gib,
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": flavor.is_public,
    }
    if ctx.microversion >= (2, 61) and extra_specs:
        body["extra_specs"] = flavor.extra_specs
    return body


def embedded(facts: FlavorFacts, *, extra_specs: bool) -> dict[str, Any]:
    """Return a server's flavor as it is shown in the server from 2.47 on."""
    body: dict[str, Any] = {
        "vcpus": facts.vcpus,
        "ram": facts.memory_mib,
        "disk": facts.disk_gib,
        "ephemeral": facts.ephemeral_gib,
        "swap": facts.swap_mib,
        "original_name": facts.name,
    }
    if extra_specs:
        body["extra_specs"] = facts.extra_specs
    return body


def facts_of(flavor: Flavor) -> FlavorFacts:
    """Return what a server keeps of a flavor."""
    return FlavorFacts(
        id=flavor.id,
        name=flavor.name,
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mib,
        disk_gib=flavor.disk_gib,
        ephemeral_gib=flavor.ephemeral_gib,
        swap_mib=flavor.swap_mib,
        extra_specs=flavor.extra_specs,
    )
