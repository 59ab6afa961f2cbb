"""The catalog: the built-in services, computed from the plugins, and the rows that somebody added."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from node.plugins.identity.catalog_tables import (
    CatalogService,
    Endpoint,
    EndpointGrant,
    EndpointGroup,
)
from node.plugins.identity.directory import directory
from node.sdk import Context, Frozen, NodeSection

INTERFACES = ("public", "internal", "admin")
_MEMO = "identity.builtin"
_PLACE = re.compile(r"[$%]\((\w+)\)s")


class Builtin(Frozen):
    """A catalog entry of a plugin's service; its URL begins with a slash."""

    service: CatalogService
    path: str


def builtins(ctx: Context) -> Sequence[Builtin]:
    """Return the entries of the services of all plugins, aliases included, by type."""
    found: Sequence[Builtin] | None = ctx.db.memo.get(_MEMO)
    if found is None:
        entries = [
            _builtin(type_name, service)
            for services in ctx.hook.services()
            for service in services
            if service.endpoint
            for type_name in (service.type, *service.aliases)
        ]
        found = ctx.db.memo[_MEMO] = sorted(entries, key=lambda entry: entry.service.type)
    return found


def _builtin(type_name: str, service: Any) -> Builtin:
    row = CatalogService(
        id=stable_id("service", type_name),
        type=type_name,
        name=service.name,
        description=service.description or None,
    )
    path = service.endpoint.replace("{project_id}", "$(project_id)s")
    return Builtin(service=row, path=path)


def stable_id(*words: str) -> str:
    """Return 32 hex digits that are always the same for the same words."""
    return hashlib.blake2b(":".join(words).encode(), digest_size=16).hexdigest()


def services(ctx: Context) -> list[CatalogService]:
    """Return all services, built-in ones first."""
    return [*(entry.service for entry in builtins(ctx)), *ctx.db.rows(CatalogService)]


def endpoints(ctx: Context) -> list[Endpoint]:
    """Return all endpoints, built-in ones first, as the caller reaches them."""
    region = ctx.config.section(NodeSection).region
    computed = [
        Endpoint(
            id=stable_id("endpoint", entry.service.type, interface),
            service_id=entry.service.id,
            interface=interface,
            url=ctx.base_url + entry.path,
            region_id=region,
        )
        for entry in builtins(ctx)
        for interface in INTERFACES
    ]
    return [*computed, *ctx.db.rows(Endpoint)]


def catalog_json(ctx: Context, project_id: str, user_id: str) -> msgspec.Raw:
    """Return the encoded catalog for a scope; endpoints that need a project are left out without one."""
    known = directory(ctx.db)
    key = ("catalog", ctx.base_url, project_id, user_id)
    return known.note(
        key, lambda: msgspec.Raw(msgspec.json.encode(_catalog(ctx, project_id, user_id)))
    )


def shown_endpoints(ctx: Context, project_id: str) -> list[Endpoint]:
    """Return the endpoints of a project's catalog: all of them, unless some were chosen for it."""
    every = endpoints(ctx)
    grants = ctx.db.rows(EndpointGrant, project_id=project_id) if project_id else []
    if not grants:
        return every
    chosen = {grant.subject_id for grant in grants}
    groups = ctx.db.rows(EndpointGroup, id=chosen)
    return [e for e in every if e.id in chosen or any(fits(group, e) for group in groups)]


def fits(group: EndpointGroup, endpoint: Endpoint) -> bool:
    """Say whether an endpoint is in a group."""
    return all(getattr(endpoint, name) == wanted for name, wanted in group.filters.items())


def _catalog(ctx: Context, project_id: str, user_id: str) -> list[dict[str, Any]]:
    values = {"user_id": user_id}
    if project_id:
        values |= {"project_id": project_id, "tenant_id": project_id}
    by_service: dict[str, list[dict[str, Any]]] = {}
    for endpoint in shown_endpoints(ctx, project_id):
        url = _substituted(endpoint.url, values)
        if endpoint.enabled and url is not None:
            by_service.setdefault(endpoint.service_id, []).append(
                {
                    "id": endpoint.id,
                    "interface": endpoint.interface,
                    "region": endpoint.region_id or None,
                    "region_id": endpoint.region_id or None,
                    "url": url,
                }
            )
    return [
        {
            "endpoints": by_service.get(service.id, []),
            "id": service.id,
            "name": service.name,
            "type": service.type,
        }
        for service in services(ctx)
        if service.enabled
    ]


def _substituted(url: str, values: dict[str, str]) -> str | None:
    names = _PLACE.findall(url)
    if any(name not in values for name in names):
        return None
    return _PLACE.sub(lambda found: values[found.group(1)], url) if names else url
