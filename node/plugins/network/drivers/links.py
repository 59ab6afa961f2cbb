"""Makes links, addresses and routes what the plans say, by netlink.

One netlink socket a namespace, kept open (opening one costs more than using it) and bounded in number. A link that
already has a planned name is adopted whatever its kind, so that tests can put a veth where a tap would be.
"""

import contextlib
import ipaddress
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyroute2
from pyroute2.netlink.exceptions import NetlinkError

from node.plugins.network.drivers.namespaces import Namespaces, write_sysctls
from node.plugins.network.link_plan import BridgePlan, RoutePlan, TapPlan, VethPlan

Socket = Any
"""A pyroute2 IPRoute, whose types say little."""

_MAX_SOCKETS = 48
_UP = 0x1
_NODAD = 0x02
_PROTO_STATIC = 4
_MAIN_TABLE = 254
_SCOPE_LINK = 253
_NOT_THERE = (2, 19)  # ENOENT, ENODEV
_MISSING = (*_NOT_THERE, 99, 3)  # and EADDRNOTAVAIL, ESRCH


class Links:
    """Links of the node's namespace ("") and of named ones."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._sockets: dict[str, Socket] = {}
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close all sockets."""
        with self._lock:
            for name in list(self._sockets):
                self.forget(name)

    def forget(self, namespace: str) -> None:
        """Close the socket of a namespace (that goes away or was made anew)."""
        with self._lock:
            socket = self._sockets.pop(namespace, None)
        if socket is not None:
            with contextlib.suppress(OSError):
                socket.close()

    def names(self, namespace: str = "") -> dict[str, int]:
        """Return the index of each link by name."""
        with self._lock:
            return {
                str(link.get_attr("IFLA_IFNAME")): int(link["index"])
                for link in self._socket(namespace).get_links()
            }

    def ensure_bridge(self, plan: BridgePlan) -> None:
        """Make the bridge as planned."""
        with self._lock:
            socket = self._socket("")
            index = _index(socket, plan.name)
            if index is None:
                socket.link(
                    "add",
                    ifname=plan.name,
                    kind="bridge",
                    address=plan.mac,
                    mtu=plan.mtu_bytes,
                    br_mcast_snooping=0,
                    br_stp_state=0,
                    br_nf_call_iptables=1,
                    br_nf_call_ip6tables=1,
                )
                index = _index(socket, plan.name)
            assert index is not None, "a link that was just made has an index"
            link = _link(socket, index)
            data = link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
            if not data.get_attr("IFLA_BR_NF_CALL_IPTABLES") or not data.get_attr("IFLA_BR_NF_CALL_IP6TABLES"):
                socket.link(
                    "set", index=index, kind="bridge", br_nf_call_iptables=1, br_nf_call_ip6tables=1
                )
            _settle(socket, plan.name, index, mtu=plan.mtu_bytes, mac=plan.mac)
            if plan.addresses:
                _set_addresses(socket, index, plan.addresses)
            else:
                _set_addresses(socket, index, ())

    def ensure_tap(self, plan: TapPlan) -> None:
        """Make the persistent tap as planned; its bridge must exist."""
        with self._lock:
            socket = self._socket("")
            index = _index(socket, plan.name)
            if index is None:
                socket.link("add", ifname=plan.name, kind="tuntap", mode="tap")
                index = _index(socket, plan.name)
            assert index is not None, "a link that was just made has an index"
            master = self._bridge(socket, plan.bridge)
            _settle(socket, plan.name, index, mtu=plan.mtu_bytes, mac=plan.mac, master=master, up=plan.up)

    def ensure_veth(self, plan: VethPlan) -> None:
        """Make the pair as planned; its bridge and namespace must exist."""
        with self._lock:
            outer = self._socket("")
            inner = self._socket(plan.namespace)
            index = _index(outer, plan.host)
            inner_index = _index(inner, plan.inner)
            if index is None or inner_index is None:
                if index is not None:
                    outer.link("del", index=index)
                if inner_index is not None:
                    inner.link("del", index=inner_index)
                outer.link(
                    "add",
                    ifname=plan.host,
                    kind="veth",
                    peer={"ifname": plan.inner, "address": plan.mac, "net_ns_fd": plan.namespace},
                )
                index, inner_index = _index(outer, plan.host), _index(inner, plan.inner)
            assert index is not None, "a link that was just made has an index"
            assert inner_index is not None, "a link that was just made has an index"
            master = self._bridge(outer, plan.bridge)
            _settle(outer, plan.host, index, mtu=plan.mtu_bytes, master=master)
            _settle(inner, "", inner_index, mtu=plan.mtu_bytes, mac=plan.mac)
            _set_addresses(inner, inner_index, plan.addresses)

    def set_routes(self, namespace: str, routes: Sequence[RoutePlan]) -> None:
        """Make the static routes of a namespace what is planned, and no others.

        Raises:
            OSError: routes that the kernel refused, after all others were set.
        """
        with self._lock:
            socket = self._socket(namespace)
            have = {_route_key(route): route for route in _static_routes(socket)}
            want = {_wanted_key(socket, plan): plan for plan in routes}
            for key in have.keys() - want.keys():
                _route(socket, "del", *key)
            refused = []
            for key in sorted(want.keys() - have.keys(), key=lambda key: (key[1] != "", key)):
                try:
                    _route(socket, "replace", *key)
                except NetlinkError as error:
                    refused.append(f"{want[key].destination} via {want[key].via}: {error.args[-1]}")
            if refused:
                raise OSError(f"The kernel refused routes in {namespace}: {'; '.join(refused)}")

    def addresses(self, name: str, namespace: str = "") -> set[str]:
        """Return the addresses of a link in CIDR form; link-local IPv6 ones are left out."""
        with self._lock:
            socket = self._socket(namespace)
            index = _index(socket, name)
            return set(_addresses(socket, index)) if index is not None else set()

    def remove(self, name: str, namespace: str = "") -> bool:
        """Remove a link; say whether there was one."""
        with self._lock:
            socket = self._socket(namespace)
            index = _index(socket, name)
            if index is None:
                return False
            return _quietly(lambda: socket.link("del", index=index))

    def _bridge(self, socket: Socket, name: str) -> int:
        index = _index(socket, name)
        if index is None:
            raise OSError(f"The bridge {name} is missing; it is made again at the next look at its network")
        return index

    def _socket(self, namespace: str) -> Socket:
        socket = self._sockets.pop(namespace, None)
        if socket is None:
            while len(self._sockets) >= _MAX_SOCKETS:
                self.forget(next(name for name in self._sockets if name))
            # The socket is made inside: Socket(netns=...) would fork this many-threaded process.
            socket = self._namespaces.run(namespace, _open)
        self._sockets[namespace] = socket  # at the end: the least used is first
        return socket


def _open() -> Socket:
    return pyroute2.IPRoute()  # type: ignore[no-untyped-call, attr-defined]


def _quietly(work: Callable[[], object]) -> bool:
    """Do it; say False where the thing was not there."""
    try:
        work()
    except NetlinkError as error:
        if error.code in _MISSING:
            return False
        raise
    return True


def _index(socket: Socket, name: str) -> int | None:
    try:
        found = socket.link("get", ifname=name)
    except NetlinkError as error:
        if error.code in _NOT_THERE:
            return None
        raise
    for link in found:
        return int(link["index"])
    return None


def _link(socket: Socket, index: int) -> Any:
    return next(iter(socket.get_links(index)))


def _settle(
    socket: Socket,
    host_name: str,
    index: int,
    *,
    mtu: int,
    mac: str = "",
    master: int | None = None,
    up: bool = True,
) -> None:
    """Set what differs. Links of the host side (`host_name`) get no IPv6 address of their own."""
    link = _link(socket, index)
    change: dict[str, Any] = {}
    if link.get_attr("IFLA_MTU") != mtu:
        change["mtu"] = mtu
    if mac and link.get_attr("IFLA_ADDRESS") != mac:
        change["address"] = mac
    if master is not None and link.get_attr("IFLA_MASTER") != master:
        change["master"] = master
    if host_name:
        mode = Path(f"/proc/sys/net/ipv6/conf/{host_name}/addr_gen_mode")
        if mode.exists() and mode.read_text().strip() != "1":
            write_sysctls({f"net/ipv6/conf/{host_name}/addr_gen_mode": "1"})
    if bool(link["flags"] & _UP) != up:
        change["state"] = "up" if up else "down"
    if change:
        socket.link("set", index=index, **change)


def _addresses(socket: Socket, index: int) -> Iterable[str]:
    for address in socket.get_addr(index=index):
        if address["scope"] != _SCOPE_LINK:
            local = address.get_attr("IFA_LOCAL") or address.get_attr("IFA_ADDRESS")
            yield f"{local}/{address['prefixlen']}"


def _set_addresses(socket: Socket, index: int, wanted: Iterable[str]) -> None:
    have = set(_addresses(socket, index))
    want = {str(ipaddress.ip_interface(address)) for address in wanted}
    for address in sorted(want - have):
        local, _slash, length = address.partition("/")
        flags = {"flags": _NODAD} if ":" in local else {}
        socket.addr("add", index=index, address=local, prefixlen=int(length), **flags)
    for address in sorted(have - want):
        local, _slash, length = address.partition("/")
        _quietly(lambda: socket.addr("del", index=index, address=local, prefixlen=int(length)))  # noqa: B023


RouteKey = tuple[str, str, int]


def _static_routes(socket: Socket) -> list[Any]:
    found: list[Any] = []
    for family in (2, 10):
        routes = socket.get_routes(family=family, table=_MAIN_TABLE)
        found += [r for r in routes if r["proto"] == _PROTO_STATIC and r.get_attr("RTA_TABLE") == _MAIN_TABLE]
    return found


def _route_key(route: Any) -> RouteKey:
    destination = route.get_attr("RTA_DST") or ("::" if route["family"] == 10 else "0.0.0.0")  # noqa: S104
    via = route.get_attr("RTA_GATEWAY") or ""
    return f"{destination}/{route['dst_len']}", via, 0 if via else int(route.get_attr("RTA_OIF") or 0)


def _wanted_key(socket: Socket, plan: RoutePlan) -> RouteKey:
    destination = str(ipaddress.ip_network(plan.destination, strict=False))
    if plan.via:
        return destination, str(ipaddress.ip_address(plan.via)), 0
    return destination, "", _index(socket, plan.dev) or 0


def _route(socket: Socket, verb: str, destination: str, via: str, index: int) -> None:
    where: dict[str, Any] = {"gateway": via} if via else {"oif": index, "scope": _SCOPE_LINK}
    family = 10 if ":" in destination else 2
    if family == 10:
        where.pop("scope", None)
    what = {"dst": destination, "family": family, "table": _MAIN_TABLE, "proto": _PROTO_STATIC}
    if verb == "del":
        _quietly(lambda: socket.route("del", **what, **where))
    else:
        socket.route(verb, **what, **where)
