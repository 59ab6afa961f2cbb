"""Links of compute's resources."""

from collections.abc import Mapping

from node.sdk import Context

Links = list[Mapping[str, str]]


def self_links(ctx: Context, collection: str, id: str) -> Links:
    """Return the `self` and `bookmark` links of a resource."""
    return [
        {"rel": "self", "href": ctx.url(f"/v2.1/{collection}/{id}")},
        {"rel": "bookmark", "href": ctx.url(f"/{collection}/{id}")},
    ]


def bookmark(ctx: Context, collection: str, id: str) -> Links:
    """Return only the `bookmark` link, which carries no version."""
    return [{"rel": "bookmark", "href": ctx.url(f"/{collection}/{id}")}]
