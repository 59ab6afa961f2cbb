"""Containers.

Source: https://docs.openstack.org/api-ref/object-store/#containers
"""

import msgspec

from node.plugins.object import container_rules
from node.plugins.object.store.contract import Query, Usage
from node.plugins.object.swift import (
    bulk_extract_api,
    formpost_api,
    listing_query,
    listing_view,
    object_view,
    version_rules,
)
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.container_change import Change
from node.plugins.object.swift.faults import Refusal, done, standard
from node.plugins.object.tables import Container
from node.sdk import BadRequest, Reply

HTML = "text/html; charset=UTF-8"
_SECRETS = ("temp-url-key", "temp-url-key-2")


def headers(call: Call, container: Container, usage: Usage) -> dict[str, str]:
    """Return what is told of a container: to its owners, more of it."""
    owner = call.is_owner
    found = {
        "X-Container-Object-Count": str(usage.objects),
        "X-Container-Bytes-Used": str(usage.size_bytes),
        "X-Timestamp": object_view.timestamp(container.created_at),
        "Last-Modified": object_view.http_date(container.updated_at),
        "Accept-Ranges": "bytes",
    }
    if container.policy:
        found["X-Storage-Policy"] = container.policy
    meta = {n: v for n, v in container.meta.items() if owner or n not in _SECRETS}
    found |= object_view.shown_meta(meta, "Container")
    if owner:
        for name in ("read", "write"):
            if value := container.sys.get(name):
                found[f"X-Container-{name.title()}"] = value
    for name in (version_rules.STACK, version_rules.HISTORY):
        if value := container.sys.get(name):
            found[f"X-{name.title()}"] = value
    if container.versioning:
        found["X-Versions-Enabled"] = str(container.versioning == "enabled")
    return found


def _usage(call: Call, container: Container) -> Usage:
    return call.store.usage([container.id]).get(container.id, Usage())


def head(call: Call) -> Reply:
    """Tell of a container."""
    call.require()
    container = call.container
    told = headers(call, container, _usage(call, container))
    told |= {"Content-Type": f"{listing_query.media_type(call)}; charset=utf-8"}
    return Reply(status=204, headers={**told, "Content-Length": "0"})


def get(call: Call) -> Reply:
    """List the objects of a container."""
    call.require()
    container = call.container
    kind = listing_query.media_type(call)
    wanted = listing_query.query(call)
    told = headers(call, container, _usage(call, container))
    if "format" not in call.ctx.params:
        told["Vary"] = "Accept"
    if "versions" in call.ctx.params:
        if call.param("format") is None:
            kind = listing_query.JSON
        items = _versions(call, container, wanted)
    else:
        items = _objects(call, container, wanted)
    return listing_view.reply(kind, items, told, owner=call.container_name, tag="container")


def _objects(call: Call, container: Container, wanted: Query) -> list[listing_view.Item]:
    account = call.account
    by_path = call.param("path") is not None
    found = []
    for item in call.store.list(container.id, wanted).items:
        if isinstance(item, str):
            if not by_path:
                found.append({"subdir": item})
            elif item != wanted.prefix and (entry := call.store.head(container.id, item)):
                found.append(listing_view.object_item(entry, account))
        elif not (by_path and item.name == wanted.prefix):
            found.append(listing_view.object_item(item, account))
    return found


def _versions(call: Call, container: Container, wanted: Query) -> list[listing_view.Item]:
    """List versions too.

    Raises:
        Refusal: 400, a version is named without its object.
    """
    marker = call.param("version_marker")
    if marker is not None and "marker" not in call.ctx.params:
        raise Refusal(400, "version_marker param requires marker")
    wanted = msgspec.structs.replace(wanted, versions=True, version_marker=marker or "")
    return [
        {"subdir": item} if isinstance(item, str) else listing_view.version_item(item, call.account)
        for item in call.store.list(container.id, wanted).items
    ]


def put(call: Call) -> Reply:
    """Make a container, or change it if it is there."""
    if "extract-archive" in call.ctx.params:
        return bulk_extract_api.put(call)
    call.require()
    call.hold_names()
    change = Change(call)
    policy = call.headers.get("x-storage-policy", "")
    now = call.ctx.now()

    def exists(found: Container) -> Container | None:
        if policy and found.policy:
            chosen = container_rules.policy_named(call.ctx.db, policy)
            if chosen.name != found.policy:
                raise Refusal(409)
        changed = change.apply(found)
        return None if changed == found else msgspec.structs.replace(changed, updated_at=now)

    blank = change.apply(Container(id="", account="", name=""))
    try:
        _made, is_new = container_rules.make(
            call.ctx,
            call.project_id,
            call.container_name,
            policy=policy,
            versioning=blank.versioning,
            meta=blank.meta,
            sys=blank.sys,
            exists=exists,
        )
    except BadRequest as error:
        raise Refusal(400, error.message) from None
    if not is_new:
        return standard(202)
    return Reply(status=201, body=b"", content_type=HTML)


def post(call: Call) -> Reply:
    """Change a container's metadata, or take the files of a form."""
    if formpost_api.is_form(call):
        return formpost_api.post(call)
    call.require()
    call.hold_names()
    container = call.container
    change = Change(call)
    now = call.ctx.now()
    container_rules.change(
        call.ctx,
        container.id,
        lambda row: msgspec.structs.replace(change.apply(row), updated_at=now),
    )
    return done()


def delete(call: Call) -> Reply:
    """Delete an empty container."""
    call.require()
    container_rules.remove(call.ctx, call.container)
    return done()
