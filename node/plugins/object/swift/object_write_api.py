"""PUT of objects.

Source: https://docs.openstack.org/api-ref/object-store/#create-or-replace-object
"""

from node.plugins.object.swift import (
    bulk_extract_api,
    limit_rules,
    object_copy_api,
    object_facts,
    slo_api,
    symlink_rules,
    upload,
    version_rules,
    write_rules,
)
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal
from node.sdk import Reply


def put(call: Call) -> Reply:
    """Store an object, or the files of an archive below its name."""
    if "extract-archive" in call.ctx.params:
        return bulk_extract_api.put(call)
    call.require()
    call.hold_names()
    container = call.container
    if call.param("version-id") is not None:
        return object_copy_api.restore(call, container, call.param("version-id") or "")
    if call.headers.get("x-copy-from"):
        if call.param("multipart-manifest") == "put":
            raise Refusal(405, "Multipart Manifest PUTs cannot be COPY requests")
        return object_copy_api.put_copy(call)
    if call.param("multipart-manifest") == "put":
        return slo_api.put(call, container)
    if "x-static-large-object" in call.headers:
        raise Refusal(
            400,
            "X-Static-Large-Object is a reserved header. "
            "To create a static large object add query param multipart-manifest=put.",
        )
    meta = limit_rules.user_metadata(call.headers, "object", call.section)
    sys = object_facts.kept_headers(call)
    if "x-symlink-target" in call.headers:
        return symlink_rules.put(call, container, meta, sys)
    length = upload.announced(call)
    condition = write_rules.condition_of(call, container)
    limit = write_rules.hold_quota(call, container, length)
    kind = object_facts.content_type(call)
    writer = call.store.writer(
        container.id, call.object_name, policy=container.policy, size_bytes=length
    )
    with writer:
        received = upload.receive(call, writer, length, limit)
        upload.hold_etag(call, received.etag)
        version_rules.archive(call, container, call.object_name)
        facts = object_facts.facts(call, received.etag, kind=kind, meta=meta, sys=sys)
        entry = writer.commit(facts, condition, version=version_rules.keeps_versions(container))
    return write_rules.created(container, entry)
