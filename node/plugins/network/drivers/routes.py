"""Static routes of a namespace, by netlink."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

from node.plugins.network.drivers.netlink import NetlinkError
from node.plugins.network.link_plan import RoutePlan

_PROTO_STATIC = 4
_MAIN_TABLE = 254
_SCOPE_LINK = 253
_MISSING = (2, 3, 19, 99)
"""ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL."""

RouteKey = tuple[str, str, int]


def replace_routes(netlink: Any, routes: Sequence[RoutePlan]) -> list[str]:
    """Make the static routes what is planned and no others; return those that the kernel refused, with its words."""
    have = {_route_key(route) for route in _static_routes(netlink)}
    want = {_wanted_key(plan) for plan in routes}
    for key in have - want:
        _route(netlink, "del", *key)
    refused = []
    for key in sorted(want - have, key=lambda key: (key[1] != "", key)):
        try:
            _route(netlink, "replace", *key)
        except NetlinkError as error:
            refused.append(f"{key[0]} via {key[1]}: {error.args[-1]}")
    return refused


def _static_routes(netlink: Any) -> list[Any]:
    found: list[Any] = []
    for family in (2, 10):
        routes = netlink.get_routes(family=family, table=_MAIN_TABLE)
        found += [
            r
            for r in routes
            if r["proto"] == _PROTO_STATIC and r.get_attr("RTA_TABLE") == _MAIN_TABLE
        ]
    return found


def _route_key(route: Any) -> RouteKey:
    destination = route.get_attr("RTA_DST") or ("::" if route["family"] == 10 else "0.0.0.0")  # noqa: S104
    via = route.get_attr("RTA_GATEWAY") or ""
    return (
        f"{destination}/{route['dst_len']}",
        via,
        0 if via else int(route.get_attr("RTA_OIF") or 0),
    )


def _wanted_key(plan: RoutePlan) -> RouteKey:
    destination = str(ipaddress.ip_network(plan.destination, strict=False))
    if plan.via:
        return destination, str(ipaddress.ip_address(plan.via)), 0
    return destination, "", socket.if_nametoindex(plan.dev)


def _route(netlink: Any, verb: str, destination: str, via: str, index: int) -> None:
    where: dict[str, Any] = {"gateway": via} if via else {"oif": index, "scope": _SCOPE_LINK}
    family = 10 if ":" in destination else 2
    if family == 10:
        where.pop("scope", None)
    what = {"dst": destination, "family": family, "table": _MAIN_TABLE, "proto": _PROTO_STATIC}
    if verb == "del":
        try:
            netlink.route("del", **what, **where)
        except NetlinkError as error:
            if error.code not in _MISSING:
                raise
    else:
        netlink.route(verb, **what, **where)
