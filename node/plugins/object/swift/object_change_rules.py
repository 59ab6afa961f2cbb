"""Deleting one of many objects or containers by its path."""

from urllib.parse import quote

from node.plugins.object import container_rules
from node.plugins.object.swift import limit_rules, removal_rules
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal


def delete_named(call: Call, path: str) -> None:
    """Delete an object, or a container, of the account of a request.

    Raises:
        Refusal: 401, 403, 404, 409, 412.
    """
    container_name, _slash, name = path.lstrip("/").partition("/")
    if not container_name or "\0" in path or _broken(path):
        raise Refusal(412)
    row = call.find(call.project_id, container_name)
    scope = "object" if name else "container"
    call.access.require("DELETE", call.project_id, row, scope)  # type: ignore[arg-type]
    if len(name.encode()) > limit_rules.MAX_OBJECT_NAME or row is None:
        raise Refusal(404)
    if name:
        removal_rules.remove(call, row, name)
    else:
        container_rules.remove(call.ctx, row)


def _broken(path: str) -> bool:
    try:
        path.encode()
    except UnicodeError:
        return True
    return False


def shown(path: str) -> str:
    """Return a path as an answer shows it."""
    return quote(path if path.startswith("/") else f"/{path}", errors="surrogateescape")
