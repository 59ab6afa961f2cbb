"""Version documents of block storage.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#api-versions
"""

from typing import Any

from node.sdk import Context, Microversions, Reply, Route

MICROVERSIONS = Microversions(minimum="3.0", maximum="3.71", service_type="volume")


def _entry(ctx: Context) -> dict[str, Any]:
    return {
        "id": "v3.0",
        "status": "CURRENT",
        "version": MICROVERSIONS.maximum,
        "min_version": MICROVERSIONS.minimum,
        "updated": "2023-08-31T00:00:00Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": ctx.url("/v3/")},
        ],
        "media-types": [
            {
                "base": "application/json",
                "type": "application/vnd.openstack.volume+json;version=3",
            }
        ],
    }


def versions(ctx: Context) -> Reply:
    """List the versions of the API."""
    return Reply(status=300, body={"versions": [_entry(ctx)]})


def version(ctx: Context) -> dict[str, Any]:
    """Show version 3."""
    return {"versions": [_entry(ctx)]}


ROUTES = (
    Route(method="GET", path="/", handler=versions, policy="public", status=300),
    Route(method="GET", path="/v3", handler=version, policy="public"),
)
