"""Deleting an object in a container that may keep versions, copies or a history."""

from node.plugins.object import retention_rules
from node.plugins.object.store.contract import Entry
from node.plugins.object.swift import object_view, version_rules
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.tables import Container


def remove(call: Call, container: Container, name: str) -> dict[str, str]:
    """Delete the newest version of an object, or hide it; return what is said of that.

    Raises:
        Refusal: 404, there is none.
    """
    entry = call.store.head(container.id, name)
    if version_rules.keeps_versions(container):
        marker = call.store.delete(container.id, name, marker="version")
        told = {"X-Object-Version-Id": object_view.version_id(marker)} if marker else {}
        if entry is None:
            raise Refusal(404, headers=told)
        return told
    if entry is None:
        raise Refusal(404)
    hold_lock(call, entry)
    if version_rules.undelete(call, container, name):
        return {}
    version_rules.note_deletion(call, container, name)
    if container.versioning:
        call.store.delete(container.id, name, marker="null")
    else:
        call.store.delete(container.id, name)
    return {}


def hold_lock(call: Call, entry: Entry) -> None:
    """Refuse to remove a version that S3's object lock holds.

    Raises:
        Refusal: 403.
    """
    if retention_rules.is_locked(entry.sys, call.ctx.clock.now_us()):
        raise Refusal(403, "The object is locked: it cannot be deleted before its retention ends.")
