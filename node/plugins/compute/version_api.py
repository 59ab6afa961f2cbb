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


def _legacy(ctx: Context) -> dict[str, Any]:
    """Return the entry of v2.0, which clients look for: the same API without microversions."""
    return {
        "id": "v2.0",
        "status": "SUPPORTED",
        "version": "",
        "min_version": "",
        "updated": "2011-01-21T11:33:21Z",
        "links": [{"rel": "self", "href": ctx.url("/v2/")}],
    }


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
    return {"versions": [_legacy(ctx), _entry(ctx)]}


def version(ctx: Context) -> dict[str, Any]:
    """Show version 2.1."""
    return _document(_entry(ctx))


def legacy_version(ctx: Context) -> dict[str, Any]:
    """Show version 2.0."""
    return _document(_legacy(ctx))


def _document(entry: dict[str, Any]) -> dict[str, Any]:
    described = {
        "rel": "describedby",
        "type": "text/html",
        "href": "http://docs.openstack.org/",
    }
    media = {
        "base": "application/json",
        "type": f"application/vnd.openstack.compute+json;version={entry['id'][1:]}",
    }
    return {"version": entry | {"links": [*entry["links"], described], "media-types": [media]}}


ROUTES = (
    Route(method="GET", path="/", handler=versions, policy="public"),
    Route(method="GET", path="/v2.1", handler=version, policy="public"),
    Route(method="GET", path="/v2", handler=legacy_version, policy="public"),
)
