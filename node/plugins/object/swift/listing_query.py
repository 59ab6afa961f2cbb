"""What a client wants of a listing: which names, how many, in which format.

Source: https://docs.openstack.org/api-ref/object-store/#show-container-details-and-list-objects
"""

from node.plugins.object.store.contract import Query
from node.plugins.object.swift import accept_rules
from node.plugins.object.swift.call import Call, truth
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.swift.limit_rules import LISTING_LIMIT

PLAIN, JSON, XML = "text/plain", "application/json", "application/xml"
_FORMATS = {"plain": PLAIN, "json": JSON, "xml": XML}
_OFFERED = (PLAIN, JSON, XML, "text/xml")


def media_type(call: Call) -> str:
    """Return the format of a listing.

    Raises:
        Refusal: 406, none that is offered is welcome.
    """
    asked = call.param("format")
    if asked is not None:
        return _FORMATS.get(asked.lower(), PLAIN)
    kind = accept_rules.best(call.headers.get("accept", ""), _OFFERED)
    if kind is None:
        raise Refusal(406)
    return kind


def text(call: Call, name: str) -> str:
    """Return a parameter of the query, or an empty string.

    Raises:
        Refusal: 400, it is no UTF-8.
    """
    value = call.param(name) or ""
    if "\ufffd" in value:
        raise Refusal(400, f'"{name}" parameter not valid UTF-8')
    return value


def query(call: Call) -> Query:
    """Return what to list.

    Raises:
        Refusal: 412, more than the limit is asked for.
    """
    prefix, delimiter = text(call, "prefix"), text(call, "delimiter")
    path = call.param("path")
    if path is not None:
        prefix = path.rstrip("/") + "/" if path.rstrip("/") else ""
        delimiter = "/"
    return Query(
        prefix=prefix,
        delimiter=delimiter,
        marker=text(call, "marker"),
        end_marker=text(call, "end_marker"),
        limit=_limit(call),
        reverse=truth(call.param("reverse") or ""),
        refold=True,
    )


def _limit(call: Call) -> int:
    given = call.param("limit") or ""
    if not (given.isascii() and given.isdigit()):
        return LISTING_LIMIT
    if len(given) > len(str(LISTING_LIMIT)) or int(given) > LISTING_LIMIT:
        raise Refusal(412, f"Maximum limit is {LISTING_LIMIT}")
    return int(given)
