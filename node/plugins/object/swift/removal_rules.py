"""Deleting an object in a container that may keep versions, copies or a history."""

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
    if version_rules.undelete(call, container, name):
        return {}
    version_rules.archive(call, container, name)
    version_rules.note_deletion(call, container, name)
    if container.versioning:
        call.store.delete(container.id, name, marker="null")
    else:
        call.store.delete(container.id, name)
    return {}
