"""Version documents of compute.

Source: https://docs.openstack.org/api-ref/compute/#api-versions
"""

from typing import Any

from node.sdk import Context, Microversions, Route

MICROVERSIONS = Microversions(
    minimum="2.1",
    maximum="2.96",
    service_type="compute",
    legacy_header="X-OpenStack-Nova-API-Version",
)
_UPDATED = "2013-07-23T11:33:21Z"


def _entry(ctx: Context) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": MICROVERSIONS.maximum,
        "min_version": MICROVERSIONS.minimum,
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": ctx.url("/v2.1/")}],
    }


def versions(ctx: Context) -> dict[str, Any]:
    """List the versions of the API."""
    return {"versions": [_entry(ctx)]}


def version(ctx: Context) -> dict[str, Any]:
    """Show version 2.1."""
    described = {
        "rel": "describedby",
        "type": "text/html",
        "href": "http://docs.openstack.org/",
    }
    entry = _entry(ctx)
    media = {
        "base": "application/json",
        "type": "application/vnd.openstack.compute+json;version=2.1",
    }
    return {"version": entry | {"links": [*entry["links"], described], "media-types": [media]}}


ROUTES = (
    Route(method="GET", path="/", handler=versions, policy="public"),
    Route(method="GET", path="/v2.1", handler=version, policy="public"),
)
