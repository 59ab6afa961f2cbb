"""Metadata and tags of servers.

Source: https://docs.openstack.org/api-ref/compute/#server-metadata-servers-metadata and #server-tags-servers-tags
"""

from collections.abc import Callable
from typing import Any

import msgspec

from node.plugins.compute import quota_rules, server_create_rules, server_rules
from node.plugins.compute.checks import Metadata
from node.plugins.compute.server_body import Tag, Tags
from node.plugins.compute.server_lookup import find
from node.plugins.compute.tables import Server
from node.sdk import AnyOp, BadRequest, Context, Frozen, NotFound, Reply, Route, check, patch

_POLICY, _TAGS = "os_compute_api:server-metadata", "os_compute_api:os-server-tags"
_MAX_TAGS = 50


class MetadataBody(Frozen, forbid_unknown_fields=True):
    """Body of POST and PUT …/metadata."""

    metadata: Metadata


class ItemBody(Frozen, forbid_unknown_fields=True):
    """Body of PUT …/metadata/{key}."""

    meta: Metadata


class TagsBody(Frozen, forbid_unknown_fields=True):
    """Body of PUT …/tags."""

    tags: Tags


def _change(
    ctx: Context,
    server_id: str,
    policy: str,
    change: Callable[[Server], dict[str, str]],
    rule: str = "update_metadata",
) -> dict[str, str]:
    def plan() -> tuple[list[AnyOp], dict[str, str]]:
        server = find(ctx, server_id, policy)
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, server_rules.RULES[rule])
        metadata = change(server)
        limits = quota_rules.limits_of(ctx.db, server.project_id)
        server_create_rules.check_metadata_quota(metadata, limits)
        fields = patch(Server, server.id, metadata=metadata, updated_at=ctx.now())
        return [check(server), fields], metadata

    return ctx.transact(plan)


def index(ctx: Context, server_id: str) -> dict[str, Any]:
    """List a server's metadata."""
    return {"metadata": find(ctx, server_id, f"{_POLICY}:index").metadata}


def show(ctx: Context, server_id: str, key: str) -> dict[str, Any]:
    """Show one item."""
    metadata = find(ctx, server_id, f"{_POLICY}:show").metadata
    if key not in metadata:
        raise NotFound("Metadata item was not found")
    return {"meta": {key: metadata[key]}}


def create(ctx: Context, server_id: str) -> dict[str, Any]:
    """Add items."""
    items = ctx.body.metadata
    merged = _change(
        ctx, server_id, f"{_POLICY}:create", lambda server: {**server.metadata, **items}
    )
    return {"metadata": merged}


def replace(ctx: Context, server_id: str) -> dict[str, Any]:
    """Replace all items."""
    items = ctx.body.metadata
    return {"metadata": _change(ctx, server_id, f"{_POLICY}:update_all", lambda _server: items)}


def update(ctx: Context, server_id: str, key: str) -> dict[str, Any]:
    """Set one item."""
    items = ctx.body.meta
    if len(items) != 1:
        raise BadRequest("Request body contains too many items")
    if key not in items:
        raise BadRequest("Request body and URI mismatch")
    _change(ctx, server_id, f"{_POLICY}:update", lambda server: {**server.metadata, **items})
    return {"meta": items}


def delete(ctx: Context, server_id: str, key: str) -> None:
    """Remove one item."""

    def without(server: Server) -> dict[str, str]:
        if key not in server.metadata:
            raise NotFound("Metadata item was not found")
        return {name: value for name, value in server.metadata.items() if name != key}

    _change(ctx, server_id, f"{_POLICY}:delete", without, "delete_metadata")


def _retag(
    ctx: Context, server_id: str, policy: str, change: Callable[[list[str]], list[str]]
) -> tuple[list[str], list[str]]:
    """Change the tags and return them as they were and as they are."""

    def plan() -> tuple[list[AnyOp], tuple[list[str], list[str]]]:
        server = find(ctx, server_id, policy)
        server_rules.check_state(server, server_rules.RULES["update_tags"])
        tags = change(server.tags)
        fields = patch(Server, server.id, tags=tags, updated_at=ctx.now())
        return [check(server), fields], (server.tags, tags)

    return ctx.transact(plan)


def tags(ctx: Context, server_id: str) -> dict[str, Any]:
    """List a server's tags."""
    return {"tags": find(ctx, server_id, f"{_TAGS}:index").tags}


def has_tag(ctx: Context, server_id: str, tag: str) -> None:
    """Say by the status whether a server has a tag."""
    if tag not in find(ctx, server_id, f"{_TAGS}:show").tags:
        raise NotFound(f"Server {server_id} has no tag '{tag}'")


def add_tag(ctx: Context, server_id: str, tag: str) -> Reply:
    """Add a tag: 201 where it is new, else 204."""
    try:
        msgspec.convert(tag, Tag)
    except msgspec.ValidationError as error:
        raise BadRequest(f"Invalid input for field/attribute tag. Value: {tag}. {error}") from error

    def added(has: list[str]) -> list[str]:
        if tag not in has and len(has) >= _MAX_TAGS:
            raise BadRequest(f"The number of tags exceeded the per-server limit {_MAX_TAGS}")
        return has if tag in has else [*has, tag]

    before, _after = _retag(ctx, server_id, f"{_TAGS}:update", added)
    if tag in before:
        return Reply(status=204)
    location = ctx.url(f"/v2.1/servers/{server_id}/tags/{tag}")
    return Reply(status=201, headers={"Location": location})


def replace_tags(ctx: Context, server_id: str) -> dict[str, Any]:
    """Replace all tags."""
    wanted = list(dict.fromkeys(ctx.body.tags))
    return {"tags": _retag(ctx, server_id, f"{_TAGS}:update_all", lambda _has: wanted)[1]}


def delete_tag(ctx: Context, server_id: str, tag: str) -> None:
    """Remove a tag."""

    def removed(has: list[str]) -> list[str]:
        if tag not in has:
            raise NotFound(f"Server {server_id} has no tag '{tag}'")
        return [name for name in has if name != tag]

    _retag(ctx, server_id, f"{_TAGS}:delete", removed)


def delete_tags(ctx: Context, server_id: str) -> None:
    """Remove all tags."""
    _retag(ctx, server_id, f"{_TAGS}:delete_all", lambda _has: [])


def _tag_route(
    method: str, path: str, handler: Any, verb: str, status: int, body: Any = None
) -> Route:
    return Route(
        method=method,
        path=f"/v2.1/servers/{{server_id}}/tags{path}",
        handler=handler,
        policy=f"{_TAGS}:{verb}",
        status=status,
        body=body,
        since="2.26",
    )


_ALL = "/v2.1/servers/{server_id}/metadata"
_ITEM = _ALL + "/{key}"
ROUTES = (
    Route(method="GET", path=_ALL, handler=index, policy=f"{_POLICY}:index"),
    Route(method="POST", path=_ALL, handler=create, policy=f"{_POLICY}:create", body=MetadataBody),
    Route(
        method="PUT", path=_ALL, handler=replace, policy=f"{_POLICY}:update_all", body=MetadataBody
    ),
    Route(method="GET", path=_ITEM, handler=show, policy=f"{_POLICY}:show"),
    Route(method="PUT", path=_ITEM, handler=update, policy=f"{_POLICY}:update", body=ItemBody),
    Route(method="DELETE", path=_ITEM, handler=delete, policy=f"{_POLICY}:delete", status=204),
    _tag_route("GET", "", tags, "index", 200),
    _tag_route("PUT", "", replace_tags, "update_all", 200, TagsBody),
    _tag_route("DELETE", "", delete_tags, "delete_all", 204),
    _tag_route("GET", "/{tag}", has_tag, "show", 204),
    _tag_route("PUT", "/{tag}", add_tag, "update", 201),
    _tag_route("DELETE", "/{tag}", delete_tag, "delete", 204),
)
