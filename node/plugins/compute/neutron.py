"""Ask the network service with the caller's token, as Nova asks Neutron, and pass its refusals on."""

from collections.abc import Mapping
from typing import Any

from node.sdk import (
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    InnerAnswer,
    NodeError,
    NotFound,
    Unavailable,
)

_PREFIX = "/network/v2.0"
_ERRORS: Mapping[int, type[NodeError]] = {
    400: BadRequest,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
}


def neutron(
    ctx: Context,
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    json: Any = None,
) -> Any:
    """Return the decoded answer.

    Raises:
        NodeError: 400, 403, 404, 409 as the network service said, else 503.
    """
    answer: InnerAnswer = ctx.ask(method, _PREFIX + path, params=params, json=json)
    if answer.status < 400:
        return answer.body
    raise _ERRORS.get(answer.status, Unavailable)(answer.message)


def listed(ctx: Context, collection: str, **params: Any) -> list[dict[str, Any]]:
    """Return a collection; `collection` is as in the path, with dashes."""
    body = neutron(ctx, "GET", f"/{collection}", params=params)
    found: list[dict[str, Any]] = body[collection.replace("-", "_")]
    return found
