"""Versions of objects, in both of Swift's ways.

The newer one (`X-Versions-Enabled`) is the store's own. The older one copies what is overwritten into another
container: `X-Versions-Location` brings the last copy back when the object is deleted, `X-History-Location` keeps
the deletion too.

Source: https://docs.openstack.org/swift/latest/api/object_versioning.html
"""

import hashlib

from node.plugins.object.store.contract import Entry, Facts, Query
from node.plugins.object.swift import object_view, upload
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.tables import Container

STACK, HISTORY = "versions-location", "history-location"
"""In a container's `sys`: where copies go."""
_EMPTY = hashlib.md5(usedforsecurity=False).hexdigest()


def keeps_versions(container: Container) -> bool:
    """Return whether what is written is a version of its own."""
    return container.versioning == "enabled"


def archive(call: Call, container: Container, name: str) -> None:
    """Copy an object, before it is overwritten, where a container says that old ones go.

    Raises:
        Refusal: 412, there is no such container.
    """
    place = container.sys.get(STACK) or container.sys.get(HISTORY)
    if not place:
        return
    entry = call.store.head(container.id, name)
    if entry is None or object_view.is_dlo(entry):
        return
    target = _archive_container(call, place)
    _copy(call, entry, target, _archive_name(name, entry.modified_at))


def undelete(call: Call, container: Container, name: str) -> bool:
    """Bring the last copy of an object back, which is being deleted; return whether there was one."""
    place = container.sys.get(STACK)
    if not place:
        return False
    target = call.find(call.project_id, place)
    if target is None:
        return False
    query = Query(prefix=_archive_name(name), limit=1, reverse=True)
    copies = [e for e in call.store.list(target.id, query).items if isinstance(e, Entry)]
    if not copies:
        return False
    last = copies[0]
    facts = Facts(
        etag=last.etag,
        content_type=last.content_type,
        meta=last.meta,
        sys=last.sys,
        expires_at=last.expires_at,
    )
    if last.size_bytes:
        call.store.compose(container.id, name, [last], facts)
    else:
        call.store.writer(container.id, name, policy=container.policy, size_bytes=0).commit(facts)
        call.store.delete(target.id, last.name)
    return True


def note_deletion(call: Call, container: Container, name: str) -> None:
    """Copy an object that is deleted, and mark its deletion, where a container keeps a history."""
    place = container.sys.get(HISTORY)
    if not place:
        return
    archive(call, container, name)
    target = _archive_container(call, place)
    mark = _archive_name(name, call.ctx.clock.now_us())
    writer = call.store.writer(target.id, mark, policy=target.policy, size_bytes=0)
    with writer:
        writer.commit(Facts(etag=_EMPTY, content_type=object_view.DELETED_TYPE))


def _archive_container(call: Call, place: str) -> Container:
    found = call.find(call.project_id, place)
    if found is None:
        raise Refusal(412)
    return found


def _archive_name(name: str, at_us: int | None = None) -> str:
    front = f"{len(name.encode()):03x}{name}/"
    return front if at_us is None else front + object_view.timestamp(at_us)


def _copy(call: Call, entry: Entry, target: Container, name: str) -> None:
    writer = call.store.writer(target.id, name, policy=target.policy, size_bytes=entry.size_bytes)
    with writer:
        if entry.size_bytes:
            upload.write_all(call, writer, call.store.read(entry))
        writer.commit(
            Facts(
                etag=entry.etag,
                content_type=entry.content_type,
                meta=entry.meta,
                sys=entry.sys,
                expires_at=entry.expires_at,
            )
        )
