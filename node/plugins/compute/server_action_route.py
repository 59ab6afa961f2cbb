"""The route of a server's action: they share one path, and are told apart by the body's one key."""

from typing import Any

from node.sdk import Route


def server_action(
    name: str, handler: Any, policy: str, body: Any = None, *, status: int = 202, **more: Any
) -> Route:
    """Return the route of an action; `more` are further fields of it, such as `until`."""
    return Route(
        method="POST",
        path="/v2.1/servers/{server_id}/action",
        action=name,
        handler=handler,
        policy=policy,
        body=body,
        status=status,
        **more,
    )
