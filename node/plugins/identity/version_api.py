"""Version documents."""

from typing import Any

from node.sdk import Context, Reply, Route

_UPDATED = "2024-04-01T00:00:00Z"


def list_versions(ctx: Context) -> Reply:
    """Return the list of versions: 300, as there is a choice."""
    return Reply(
        body={"versions": {"values": [_version(ctx)]}}, headers={"Location": ctx.url("/v3/")}
    )


def show_version(ctx: Context) -> dict[str, Any]:
    """Return version 3."""
    return {"version": _version(ctx)}


def _version(ctx: Context) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": ctx.url("/v3/")}],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
        ],
    }


ROUTES = (
    Route(
        method="GET",
        path="/",
        handler=list_versions,
        policy="public",
        status=300,
        summary="List versions",
    ),
    Route(
        method="GET", path="/v3", handler=show_version, policy="public", summary="Show version 3"
    ),
)
