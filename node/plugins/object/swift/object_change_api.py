"""POST and DELETE of objects.

Source: https://docs.openstack.org/api-ref/object-store/#objects
"""

from node.plugins.object.store.contract import Entry
from node.plugins.object.swift import (
    expiry_rules,
    formpost_api,
    limit_rules,
    object_facts,
    object_view,
    removal_rules,
    slo_api,
)
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal, done, standard
from node.plugins.object.swift.object_find import target_of
from node.plugins.object.tables import Container
from node.sdk import NotFound, Reply

_ATTEMPTS = 8


def post(call: Call) -> Reply:
    """Replace an object's metadata."""
    if formpost_api.is_form(call):
        return formpost_api.post(call)
    call.require()
    call.hold_names()
    if call.param("version-id") is not None:
        raise Refusal(400, "POST to a specific version is not allowed")
    if "x-symlink-target" in call.headers:
        raise Refusal(400, "A PUT request is required to set a symlink target")
    meta = limit_rules.user_metadata(call.headers, "object", call.section)
    sys = object_facts.kept_headers(call)
    container = call.container
    for _attempt in range(_ATTEMPTS):
        entry = call.store.head(container.id, call.object_name)
        if entry is None:
            raise Refusal(404)
        try:
            return _replace(call, entry, meta, sys)
        except NotFound:
            continue  # another request replaced it: its metadata is changed then
    raise Refusal(409)


def _replace(call: Call, entry: Entry, meta: dict[str, str], sys: dict[str, str]) -> Reply:
    at = sys.get("x-delete-at")
    foreign = {n: v for n, v in entry.sys.items() if n not in object_view.SHOWN}
    given = call.headers.get("content-type", "")
    call.store.update(
        entry,
        meta={name: value for name, value in meta.items() if value},
        sys={**foreign, **sys},
        content_type=object_facts.content_type(call) if given else None,
        expires_at=expiry_rules.micros(int(at) if at else None),
        keep_expiry=False,
    )
    if object_view.is_link(entry):
        text = (
            "The requested POST was applied to a symlink. POST directly to the target to apply "
            "requested metadata."
        )
        location = target_of(entry, call.project_id).path
        raise Refusal(307, text, headers={"Location": f"{call.ctx.service_path}{location}"})
    return standard(202)


def delete(call: Call) -> Reply:
    """Delete an object."""
    if call.param("multipart-manifest") == "delete":
        return slo_api.delete(call)
    call.require()
    container = call.container
    version_id = call.param("version-id")
    if version_id is not None and version_id != "":
        return _delete_version(call, container, version_id)
    headers = removal_rules.remove(call, container, call.object_name)
    return done(headers)


def _delete_version(call: Call, container: Container, version_id: str) -> Reply:
    if not container.versioning and version_id != "null":
        raise Refusal(400, "version-aware operations require that the container is versioned")
    present = call.store.head(container.id, call.object_name, version_id)
    if present is not None:
        removal_rules.hold_lock(call, present)
    removed = call.store.delete(container.id, call.object_name, version_id)
    if removed is None:
        raise Refusal(404)
    newest = call.store.head(container.id, call.object_name)
    told = {
        "X-Object-Version-Id": version_id,
        "X-Object-Current-Version-Id": object_view.version_id(newest) if newest else "null",
    }
    return done(told)
