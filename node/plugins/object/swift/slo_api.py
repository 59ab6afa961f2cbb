"""PUT and DELETE of static large objects.

Source: https://docs.openstack.org/swift/latest/overview_large_objects.html#static-large-objects
"""

import hashlib
import json
from collections.abc import Iterator

from node.plugins.object.swift import (
    bulk_view,
    limit_rules,
    manifest_rules,
    object_facts,
    object_view,
    slo_rules,
    version_rules,
    write_rules,
)
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.content import manifest
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.swift.object_find import Spot, spot_of
from node.plugins.object.tables import Container
from node.sdk import Reply, TooLarge


def put(call: Call, container: Container) -> Reply:
    """Store a manifest whose segments are all there."""
    given = manifest_rules.parse(_body(call), f"{call.container_name}/{call.object_name}")
    if sum("path" in segment for segment in given) > call.section.max_segments:
        most = call.section.max_segments
        raise Refusal(413, f"Number of object-backed segments must be <= {most}")
    checked = slo_rules.check(call, given, call.project_id)
    if checked.problems:
        return bulk_view.problems(call, 400, checked.problems)
    etag = manifest_rules.etag(checked.segments)
    wanted = call.headers.get("etag", "").strip().strip('"').lower()
    if wanted and wanted != etag:
        raise Refusal(422)
    meta = limit_rules.user_metadata(call.headers, "object", call.section)
    sys = object_facts.kept_headers(call)
    sys |= {object_view.SLO: etag, object_view.SLO_SIZE: str(checked.size)}
    kind = object_facts.content_type(call)
    condition = write_rules.condition_of(call, container)
    body = json.dumps(checked.segments).encode()
    write_rules.hold_quota(call, container, len(body))
    version_rules.archive(call, container, call.object_name)
    own = hashlib.md5(body, usedforsecurity=False).hexdigest()
    facts = object_facts.facts(call, own, kind=kind, meta=meta, sys=sys)
    with call.store.writer(
        container.id, call.object_name, policy=container.policy, size_bytes=len(body)
    ) as writer:
        writer.write(body)
        entry = writer.commit(facts, condition, version=version_rules.keeps_versions(container))
    return write_rules.created(container, entry, f'"{etag}"')


def _body(call: Call) -> bytes:
    most = call.section.max_manifest_bytes
    if call.ctx.content_length is not None and not call.ctx.environ.get("CONTENT_LENGTH"):
        raise Refusal(411)
    try:
        data: bytes = call.ctx.stream.read_all(most)
    except TooLarge:
        raise Refusal(413, f"Manifest File > {most} bytes") from None
    return data


def segments_of(call: Call, spot: Spot) -> Iterator[str]:
    """Yield `/container/object` of each segment of a manifest, then of the manifest itself; of nested ones too.

    Raises:
        Refusal: 404, or 400 where it is no manifest.
    """
    container = call.find(spot.project_id, spot.container)
    entry = call.store.head(container.id, spot.name) if container else None
    if entry is None:
        raise Refusal(404, "SLO manifest not found")
    if not object_view.is_slo(entry):
        raise Refusal(400, "Not an SLO manifest")
    for segment in manifest(call, entry):
        if "data" in segment:
            continue
        if segment.get("sub_slo"):
            inner, _slash, name = segment["name"].lstrip("/").partition("/")
            yield from segments_of(
                call, Spot(project_id=spot.project_id, container=inner, name=name)
            )
        else:
            yield segment["name"]
    yield f"/{spot.container}/{spot.name}"


def delete(call: Call) -> Reply:
    """Delete a manifest with all its segments."""
    call.access.require("DELETE", call.project_id, call.container_row, "object")
    names = segments_of(call, spot_of(call))
    return bulk_view.deletion(call, names)
