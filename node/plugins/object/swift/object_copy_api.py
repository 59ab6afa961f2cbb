"""Copies made by the service: COPY, PUT with X-Copy-From, and old versions made new again.

Source: https://docs.openstack.org/api-ref/object-store/#copy-object
"""

from collections.abc import Iterator
from urllib.parse import quote

import msgspec

from node.plugins.object.store.contract import Facts
from node.plugins.object.swift import (
    limit_rules,
    object_facts,
    object_view,
    range_rules,
    slo_rules,
    upload,
    version_rules,
    write_rules,
)
from node.plugins.object.swift.call import PREFIX, Call, project_of
from node.plugins.object.swift.content import Content, content_of
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.swift.object_find import (
    Found,
    Spot,
    locate,
    split_account,
    split_header,
    spot_of,
)
from node.plugins.object.swift.range_rules import Span
from node.plugins.object.tables import Container
from node.sdk import Reply

_TO = "Destination header must be of the form <container name>/<object name>"
_FROM = "X-Copy-From header must be of the form <container name>/<object name>"


def copy(call: Call) -> Reply:
    """Copy the object that the path names to where the headers say."""
    if not call.headers.get("destination"):
        raise Refusal(412, "Destination header required")
    source, version_id = spot_of(call), call.param("version-id")
    account = call.account
    if "destination-account" in call.headers:
        account = split_account(call.headers["destination-account"], "Account name")
    container, name = split_header(call.headers["destination"], _TO)
    target = Spot(project_id=project_of(account), container=container, name=name)
    return _copy(call, source, version_id, target)


def put_copy(call: Call) -> Reply:
    """Make the object that the path names a copy of the one that a header names."""
    if call.ctx.content_length is None or call.ctx.content_length:
        raise Refusal(400, "Copy requests require a zero byte body")
    project_id = call.project_id
    if "x-copy-from-account" in call.headers:
        account = split_account(call.headers["x-copy-from-account"], "Account name")
        project_id = project_of(account)
    value, _mark, query = call.headers["x-copy-from"].partition("?")
    container, name = split_header(value, _FROM)
    version_id = query.removeprefix("version-id=") if query.startswith("version-id=") else None
    source = Spot(project_id=project_id, container=container, name=name)
    return _copy(call, source, version_id, spot_of(call))


def _copy(call: Call, source: Spot, version_id: str | None, target: Spot) -> Reply:
    container = call.find(target.project_id, target.container)
    as_link = call.param("symlink") == "get"
    found = locate(call, source, version_id=version_id, follow=not as_link)
    call.access.require("PUT", target.project_id, container, "object")
    if container is None:
        raise Refusal(404)
    limit_rules.hold_object_name(target.name)
    as_manifest = call.param("multipart-manifest") == "get" or as_link
    content = Content(call, found.entry) if as_manifest else content_of(call, found)
    span = _span(call, content)
    if span.length > call.section.max_file_size_bytes:
        raise Refusal(413)
    facts = _facts(call, found, target, content, as_manifest=as_manifest)
    write_rules.hold_quota(call, container, span.length)
    writer = call.store.writer(
        container.id, target.name, policy=container.policy, size_bytes=span.length
    )
    with writer:
        received = upload.write_all(call, writer, _blocks(content, span))
        if not as_manifest:
            upload.hold_etag(call, received.etag)
        version_rules.archive(call, container, target.name)
        entry = writer.commit(
            _with_etag(facts, received.etag), version=version_rules.keeps_versions(container)
        )
    etag = f'"{entry.sys[object_view.SLO]}"' if object_view.is_slo(entry) else ""
    return write_rules.created(container, entry, etag, _told(found, source, entry.meta))


def _blocks(content: Content, span: Span) -> Iterator[bytes]:
    return content.blocks(span) if span.length else iter(())


def _span(call: Call, content: Content) -> Span:
    """Return the part that is copied: all of it, unless a Range says otherwise.

    Raises:
        Refusal: 416.
    """
    pairs = range_rules.parse(call.headers.get("range", ""))
    if not pairs:
        return Span(offset=0, length=content.size)
    spans = range_rules.spans(pairs, content.size)
    if len(spans) != 1:
        raise Refusal(416)
    return spans[0]


def _facts(call: Call, found: Found, target: Spot, content: Content, *, as_manifest: bool) -> Facts:
    """Return what the copy keeps: what the headers say, over what the source has unless that is not wanted."""
    del content
    given_meta = limit_rules.user_metadata(call.headers, "object", call.section)
    given_sys = object_facts.kept_headers(call)
    entry = found.entry
    fresh = call.flag("x-fresh-metadata")
    meta = given_meta if fresh else {**entry.meta, **given_meta}
    dropped = {"x-object-manifest"} if not as_manifest else set()
    shown = {n: v for n, v in entry.sys.items() if n in object_view.SHOWN and n not in dropped}
    sys = dict(given_sys) if fresh else {**shown, **given_sys}
    if as_manifest:
        own = (object_view.SLO, object_view.SLO_SIZE, object_view.LINK, object_view.LINK_ACCOUNT)
        keep = (*own, object_view.LINK_ETAG, object_view.LINK_BYTES, "x-object-manifest")
        sys |= {name: entry.sys[name] for name in keep if name in entry.sys}
        if object_view.is_slo(entry):
            slo_rules.hold_segments(call, found, target)
        if object_view.is_link(entry) and found.spot.project_id != target.project_id:
            account = quote(f"{PREFIX}{found.spot.project_id}")
            sys.setdefault(object_view.LINK_ACCOUNT, account)
    given = call.headers.get("content-type", "")
    kind = object_facts.content_type(call) if given else entry.content_type
    return object_facts.facts(call, "", kind=kind, meta=meta, sys=sys)


def _with_etag(facts: Facts, etag: str) -> Facts:
    return msgspec.structs.replace(facts, etag=etag)


def _told(found: Found, source: Spot, meta: object) -> dict[str, str]:
    assert isinstance(meta, dict)
    told = {
        "X-Copied-From": quote(f"{source.container}/{source.name}"),
        "X-Copied-From-Account": quote(f"{PREFIX}{source.project_id}"),
        "X-Copied-From-Last-Modified": object_view.http_date(found.entry.modified_at),
        **object_view.shown_meta(meta, "Object"),
    }
    if found.container.versioning:
        told["X-Copied-From-Version-Id"] = object_view.version_id(found.entry)
    return told


def restore(call: Call, container: Container, version_id: str) -> Reply:
    """Make an old version the newest one again.

    Raises:
        Refusal: 400, a body came with it, or the container keeps no versions; 404, there is no such version.
    """
    if not container.versioning:
        raise Refusal(400, "version-aware operations require that the container is versioned")
    if upload.announced(call) != 0:
        raise Refusal(400, "PUT version-id requests require a zero byte body")
    entry = call.store.head(container.id, call.object_name, version_id)
    if entry is None or entry.is_marker:
        raise Refusal(404, "The specified version does not exist")
    if entry.is_latest:
        return write_rules.created(container, entry)
    writer = call.store.writer(
        container.id, call.object_name, policy=container.policy, size_bytes=entry.size_bytes
    )
    with writer:
        if entry.size_bytes:
            upload.write_all(call, writer, call.store.read(entry))
        sys = {
            n: v
            for n, v in entry.sys.items()
            if n not in ("s3-hold", "s3-lock-mode", "s3-lock-until")
        }
        facts = object_facts.facts(
            call, entry.etag, kind=entry.content_type, meta=entry.meta, sys=sys
        )
        made = writer.commit(facts, version=version_rules.keeps_versions(container))
    return write_rules.created(container, made)
