"""The five routes that every Neutron collection has."""

from collections.abc import Callable
from typing import Any

from node.sdk import Route

Handler = Callable[..., Any]


def collection(
    resource: str,
    path: str,
    *,
    index: Handler,
    create: Handler | None,
    show: Handler,
    update: Handler | None,
    remove: Handler | None,
) -> tuple[Route, ...]:
    """Return the routes of a collection at `/v2.0/PATH`, guarded by the policies of the resource.

    What changes one row is guarded by `get_RESOURCE` here, as the row's owner is known to the handler only: it asks
    for `update_RESOURCE` or `delete_RESOURCE` with the row as target.
    """
    many = f"/v2.0/{path}"
    one = f"{many}/{{{resource}_id}}"
    found = [
        Route(method="GET", path=many, handler=index, policy=f"get_{resource}"),
        Route(method="GET", path=one, handler=show, policy=f"get_{resource}"),
    ]
    if create is not None:
        found.append(
            Route(
                method="POST",
                path=many,
                handler=create,
                policy=f"create_{resource}" if resource != "subnet" else "get_subnet",
                status=201,
                body=dict[str, Any],
            )
        )
    if update is not None:
        found.append(
            Route(
                method="PUT",
                path=one,
                handler=update,
                policy=f"get_{resource}",
                body=dict[str, Any],
            )
        )
    if remove is not None:
        found.append(
            Route(method="DELETE", path=one, handler=remove, policy=f"get_{resource}", status=204)
        )
    return tuple(found)
