"""Makes links, addresses and routes what the plans say, by netlink.

pyroute2 gives each thread a socket of its own, made where that thread is: so a socket is opened for each piece of
work, inside the namespace (0.5 ms; its own way into namespaces forks and takes twenty times that). A link that already
has a planned name is adopted whatever its kind, so that tests can put a veth where a tap would be.
"""

import ipaddress
import socket
import threading
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from node.plugins.network.drivers.namespaces import Namespaces, write_sysctls
from node.plugins.network.drivers.netlink import NetlinkError, Socket, open_socket
from node.plugins.network.drivers.routes import replace_routes
from node.plugins.network.link_plan import BridgePlan, RoutePlan, TapPlan, TunnelPlan, VethPlan

T = TypeVar("T")

_BRIDGE_CALLS = {"br_nf_call_iptables": 1, "br_nf_call_ip6tables": 1}
"""Show bridged packets to the inet tables, for our bridges only."""
_UP = 0x1
_NODAD = 0x02
_SCOPE_LINK = 253
_NOT_THERE = (2, 19)  # ENOENT, ENODEV
_MISSING = (*_NOT_THERE, 99, 3)  # and EADDRNOTAVAIL, ESRCH


class Links:
    """Links of the node's namespace ("") and of named ones."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._lock = threading.RLock()

    def names(self, namespace: str = "") -> dict[str, int]:
        """Return the index of each link by name."""
        return self._namespaces.run(
            namespace, lambda: {name: index for index, name in socket.if_nameindex()}
        )

    def index(self, name: str) -> int | None:
        """Return the index of a link of the node's namespace, or None."""
        return _index(name)

    def ensure_bridge(self, plan: BridgePlan) -> None:
        """Make the bridge as planned."""

        def make(netlink: Socket) -> None:
            index = _index(plan.name)
            if index is None:
                fields = {
                    "address": plan.mac,
                    "mtu": plan.mtu_bytes,
                    "br_mcast_snooping": 0,
                    "br_stp_state": 0,
                }
                netlink.link("add", ifname=plan.name, kind="bridge", **_BRIDGE_CALLS, **fields)
                index = _made(plan.name)
            link = _link(netlink, index)
            data = link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
            if not all(data.get_attr(f"IFLA_{name.upper()}") for name in _BRIDGE_CALLS):
                netlink.link("set", index=index, kind="bridge", **_BRIDGE_CALLS)
            _settle(netlink, plan.name, index, mtu=plan.mtu_bytes, mac=plan.mac)
            _set_addresses(netlink, index, plan.addresses)

        self._do("", make)

    def ensure_tap(self, plan: TapPlan) -> None:
        """Make the persistent tap as planned; its bridge must exist."""

        def make(netlink: Socket) -> None:
            index = _index(plan.name)
            if index is None:
                netlink.link("add", ifname=plan.name, kind="tuntap", mode="tap")
                index = _made(plan.name)
            master = _bridge(plan.bridge)
            _settle(
                netlink,
                plan.name,
                index,
                mtu=plan.mtu_bytes,
                mac=plan.mac,
                master=master,
                up=plan.up,
            )

        self._do("", make)

    def ensure_veth(self, plan: VethPlan) -> None:
        """Make the pair as planned; its bridge and namespace must exist."""

        def outer(netlink: Socket) -> None:
            index = _index(plan.host)
            if index is not None and not inner_found:
                netlink.link("del", index=index)
                index = None
            if index is None:
                peer = {"ifname": plan.inner, "address": plan.mac, "net_ns_fd": plan.namespace}
                netlink.link("add", ifname=plan.host, kind="veth", peer=peer)
                index = _made(plan.host)
            master = _bridge(plan.bridge)
            _settle(netlink, plan.host, index, mtu=plan.mtu_bytes, master=master)

        def inner(netlink: Socket) -> None:
            index = _made(plan.inner)
            _settle(netlink, "", index, mtu=plan.mtu_bytes, mac=plan.mac)
            _set_addresses(netlink, index, plan.addresses)

        with self._lock:
            inner_found = plan.inner in self.names(plan.namespace)
            if inner_found and plan.host not in self.names():
                self.remove(plan.inner, plan.namespace)
                inner_found = False
            self._do("", outer)
            self._do(plan.namespace, inner)

    def set_routes(self, namespace: str, routes: Sequence[RoutePlan]) -> None:
        """Make the static routes of a namespace what is planned, and no others.

        Raises:
            OSError: routes that the kernel refused, after all others were set.
        """
        refused = self._do(namespace, lambda netlink: replace_routes(netlink, routes))
        if refused:
            raise OSError(f"The kernel refused routes in {namespace}: {'; '.join(refused)}")

    def ensure_tunnel(self, plan: TunnelPlan) -> tuple[int, int]:
        """Make the VXLAN link as planned, in its bridge, which must exist; return both links' indexes."""

        def make(netlink: Socket) -> tuple[int, int]:
            index = _index(plan.name)
            if index is not None and not _is_tunnel(_link(netlink, index), plan):
                netlink.link("del", index=index)
                index = None
            master = _bridge(plan.bridge)
            if index is None:
                where = "vxlan_local6" if ":" in plan.local else "vxlan_local"
                fields = {where: plan.local, "vxlan_id": plan.vni, "vxlan_port": plan.port}
                netlink.link("add", ifname=plan.name, kind="vxlan", vxlan_learning=False, **fields)
                index = _made(plan.name)
                netlink.link("set", index=index, master=master, mtu=plan.mtu_bytes)
            _set_port(netlink, index, plan)
            _settle(netlink, plan.name, index, mtu=plan.mtu_bytes, master=master)
            return index, master

        return self._do("", make)

    def enslave(self, name: str, bridge: str) -> None:
        """Put a physical link that has no addresses into a bridge.

        Raises:
            OSError: there is no such link, or the node would lose addresses.
        """

        def make(netlink: Socket) -> None:
            index = _index(name)
            if index is None:
                raise OSError(f"[network] public_interface names {name}, which does not exist")
            link, master = _link(netlink, index), _bridge(bridge)
            found = sorted(_addresses(netlink, index))
            if found:
                raise OSError(
                    f"[network] public_interface names {name}, which has {', '.join(found)}: the node "
                    "would lose it; name an interface without addresses"
                )
            if link.get_attr("IFLA_MASTER") != master or not link["flags"] & _UP:
                netlink.link("set", index=index, master=master, state="up")

        self._do("", make)

    def addresses(self, name: str, namespace: str = "") -> set[str]:
        """Return the addresses of a link in CIDR form; link-local IPv6 ones are left out."""

        def look(netlink: Socket) -> set[str]:
            index = _index(name)
            return set(_addresses(netlink, index)) if index is not None else set()

        return self._do(namespace, look)

    def let_go(self, name: str) -> bool:
        """Remove a tap, or only take it off its bridge while a guest holds it; say whether it is gone.

        QEMU ends itself, and the guest with it, when it resets an interface whose tap was taken away.
        """

        def drop(netlink: Socket) -> bool:
            index = _index(name)
            if index is None:
                return True
            found = netlink.link("get", index=index)
            if not found or not _is_held(found[0]):
                _quietly(lambda: netlink.link("del", index=index))
                return True
            if found[0].get_attr("IFLA_MASTER"):
                netlink.link("set", index=index, master=0)
            return False

        return self._do("", drop)

    def remove(self, name: str, namespace: str = "") -> bool:
        """Remove a link; say whether there was one."""
        if not namespace and _index(name) is None:
            return False

        def drop(netlink: Socket) -> bool:
            index = _index(name)
            return index is not None and _quietly(lambda: netlink.link("del", index=index))

        return self._do(namespace, drop)

    def _do(self, namespace: str, work: Callable[[Socket], T]) -> T:
        def inside() -> T:
            with open_socket() as netlink:
                return work(netlink)

        with self._lock:
            return self._namespaces.run(namespace, inside)


def _is_held(link: Any) -> bool:
    """Return whether a link is a tap that a process has open: its carrier."""
    info = link.get_attr("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info is not None else ""
    return kind in ("tun", "tuntap") and link.get_attr("IFLA_CARRIER") == 1


def _made(name: str) -> int:
    index = _index(name)
    if index is None:
        raise OSError(
            f"The link {name} is missing right after it was made; it is made again at the next look"
        )
    return index


def _bridge(name: str) -> int:
    index = _index(name)
    if index is None:
        raise OSError(
            f"The bridge {name} is missing; it is made again at the next look at its network"
        )
    return index


def _quietly(work: Callable[[], object]) -> bool:
    """Do it; say False where the thing was not there."""
    try:
        work()
    except NetlinkError as error:
        if error.code in _MISSING:
            return False
        raise
    return True


def _index(name: str) -> int | None:
    """Return a link's index in the calling thread's namespace; an ioctl, much quicker than netlink."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def _link(netlink: Socket, index: int) -> Any:
    return next(iter(netlink.get_links(index)))


def _settle(
    netlink: Socket,
    host_name: str,
    index: int,
    *,
    mtu: int,
    mac: str = "",
    master: int | None = None,
    up: bool = True,
) -> None:
    """Set what differs. Links of the host side (`host_name`) get no IPv6 address of their own."""
    link = _link(netlink, index)
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
        netlink.link("set", index=index, **change)


def _addresses(
    netlink: Socket, index: int, wanted: Container[str] = frozenset()
) -> Iterable[str]:
    """Yield addresses with their lengths; those of the link alone, which the kernel makes, where they are wanted."""
    for address in netlink.get_addr(index=index):
        local = address.get_attr("IFA_LOCAL") or address.get_attr("IFA_ADDRESS")
        text = f"{local}/{address['prefixlen']}"
        if address["scope"] != _SCOPE_LINK or text in wanted:
            yield text


def _set_addresses(netlink: Socket, index: int, wanted: Iterable[str]) -> None:
    want = {str(ipaddress.ip_interface(address)) for address in wanted}
    have = set(_addresses(netlink, index, want))
    for address in sorted(want - have):
        local, _slash, length = address.partition("/")
        flags = {"flags": _NODAD} if ":" in local else {}
        netlink.addr("add", index=index, address=local, prefixlen=int(length), **flags)
    for address in sorted(have - want):
        local, _slash, length = address.partition("/")
        _quietly(lambda: netlink.addr("del", index=index, address=local, prefixlen=int(length)))  # noqa: B023


def _is_tunnel(link: Any, plan: TunnelPlan) -> bool:
    """Return whether a link is the tunnel that is planned, in what cannot be changed."""
    info = link.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA") if info is not None else None
    if data is None or info.get_attr("IFLA_INFO_KIND") != "vxlan":
        return False
    local = data.get_attr("IFLA_VXLAN_LOCAL6" if ":" in plan.local else "IFLA_VXLAN_LOCAL")
    known = (data.get_attr("IFLA_VXLAN_ID"), data.get_attr("IFLA_VXLAN_PORT"), local)
    return known == (plan.vni, plan.port, plan.local)


def _set_port(netlink: Socket, index: int, plan: TunnelPlan) -> None:
    """Have a tunnel learn nothing, answer for neighbours that are known, and flood what is planned."""
    data = _link(netlink, index).get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_SLAVE_DATA")
    wanted = {
        "learning": 0,
        "neigh_suppress": int(not plan.loose),
        "unicast_flood": int(plan.loose),
    }
    names = {name: f"IFLA_BRPORT_{name.upper()}" for name in wanted}
    if data is None or any(data.get_attr(names[name]) != value for name, value in wanted.items()):
        netlink.brport("set", index=index, **wanted)
