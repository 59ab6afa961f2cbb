"""Makes the routers of this node: namespaces with links, routes and address translation."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from node.plugins.network.drivers.announce import announce
from node.plugins.network.drivers.links import Links
from node.plugins.network.drivers.metadata_server import MetadataServer
from node.plugins.network.drivers.namespaces import Namespaces, write_sysctls
from node.plugins.network.drivers.nft import NftTable, flush_connections
from node.plugins.network.drivers.router_advert import RouterAdvert
from node.plugins.network.gateway_sync import Fence
from node.plugins.network.link_plan import VethPlan
from node.plugins.network.names import router_namespace
from node.plugins.network.network_sync import Bridges
from node.plugins.network.nft_plan import EMPTY
from node.plugins.network.router_plan import (
    METADATA_PORT,
    ROUTER_TABLE,
    RouterPlan,
    lost_translations,
    router_plan,
)
from node.plugins.network.served import router_is_served, routers_of
from node.plugins.network.tables import (
    COMPUTE_PREFIX,
    ROUTER_GATEWAY,
    ROUTER_INTERFACE,
    FloatingIp,
    Network,
    Port,
    Router,
    Subnet,
)
from node.sdk import AnyOp, Control, Done, Reader, Reconciler, Row, check, patch

log = logging.getLogger("hedgerow.network")

_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
}


_REPEATS = 3
_REPEAT_S = 1.0
_REMIND_S = 45.0


_SPEAK = "announce:"


class _Spoken(NamedTuple):
    """What neighbours outside were told, how often they are still to be told, and when they were."""

    gateway: VethPlan
    addresses: frozenset[str]
    left: int
    at_s: float = 0.0


class Routers:
    """The routers of this node."""

    def __init__(
        self,
        bridges: Bridges,
        namespaces: Namespaces,
        metadata: MetadataServer,
        adverts: RouterAdvert,
    ) -> None:
        self._bridges = bridges
        self._links: Links = bridges.links
        self._namespaces = namespaces
        self._metadata = metadata
        self._adverts = adverts
        self._tables: dict[str, NftTable] = {}
        self._spoken: dict[str, _Spoken] = {}
        """What was announced, by router."""
        self._lock = threading.Lock()

    def apply(self, plan: RouterPlan, networks: Iterable[Network]) -> None:
        """Make a router as planned.

        Raises:
            OSError, NftError: the kernel refused something; the rest was done where it could be.
        """
        for network in networks:
            self._bridges.ensure(network)
        fresh = self._namespaces.ensure(plan.namespace)
        if fresh:
            self.forget(plan.router_id)
        self._namespaces.run(plan.namespace, lambda: write_sysctls(_SYSCTLS))
        table = self._table(plan.namespace, fresh=fresh)
        before = table.fragment("router") or EMPTY
        # Translation first: nothing must leave with an inner address.
        if not table.apply({"router": plan.nat}):
            table.verify()
        wanted = {veth.inner for veth in plan.veths}
        for name in self._links.names(plan.namespace):
            if name.startswith(("qr-", "qg-")) and name not in wanted:
                self._links.remove(name, plan.namespace)
        for veth in plan.veths:
            self._links.ensure_veth(veth)
        self._links.set_routes(plan.namespace, plan.routes)
        lost = lost_translations(before, plan.nat)
        flush_connections(
            self._namespaces,
            plan.namespace,
            [filters for fip, fixed in lost for filters in (["-d", fip], ["-s", fixed])],
        )
        self._metadata.listen(plan.namespace, "0.0.0.0", METADATA_PORT, plan.networks)  # noqa: S104
        self._adverts.advertise(plan.namespace, plan.advertised)

    def announce(self, plan: RouterPlan) -> bool:
        """Tell the neighbours outside where the router's addresses are; say whether they are to be told again.

        Three times when an address is new here, for one may get lost; later now and then, should another node have
        claimed it wrongly.
        """
        gateway = plan.gateway
        if gateway is None:
            self._spoken.pop(plan.router_id, None)
            return False
        addresses = frozenset(a.partition("/")[0] for a in gateway.addresses if ":" not in a)
        spoken = self._spoken.get(plan.router_id)
        if spoken is None or addresses - spoken.addresses:
            left = _REPEATS
        elif time.monotonic() - spoken.at_s > _REMIND_S:
            left = max(1, spoken.left)
        else:
            return False
        self._speak(plan.router_id, _Spoken(gateway, addresses, left))
        return left > 1

    def forget(self, router_id: str) -> None:
        """Have a router's addresses announced anew when it is made next."""
        self._spoken.pop(router_id, None)

    def repeat(self, router_id: str) -> float | None:
        """Announce a router's addresses again when that is due; return when to do so next."""
        spoken = self._spoken.get(router_id)
        if spoken is None or not spoken.left:
            return None
        wait_s = spoken.at_s + _REPEAT_S - time.monotonic()
        if wait_s > 0:
            return wait_s
        return _REPEAT_S if self._speak(router_id, spoken) else None

    def _speak(self, router_id: str, spoken: "_Spoken") -> int:
        """Announce; return how often that is still to be done."""
        gateway, addresses = spoken.gateway, sorted(spoken.addresses)
        announce(self._namespaces, gateway.namespace, gateway.inner, gateway.mac, addresses)
        self._spoken[router_id] = spoken._replace(left=spoken.left - 1, at_s=time.monotonic())
        return spoken.left - 1

    def remove(self, router_id: str) -> None:
        """Remove a router's namespace; its links go with it."""
        namespace = router_namespace(router_id)
        self.forget(router_id)
        if namespace not in self._namespaces.names():
            return
        self._metadata.close(namespace)
        self._adverts.advertise(namespace, ())
        if self._namespaces.alive(namespace):
            for name in self._links.names(namespace):
                if name.startswith(("qr-", "qg-")):
                    self._links.remove(name, namespace)
        self._namespaces.remove(namespace)
        with self._lock:
            self._tables.pop(namespace, None)

    def ids(self) -> set[str]:
        """Return the routers that exist here."""
        prefix = router_namespace("")
        return {
            name.removeprefix(prefix)
            for name in self._namespaces.names()
            if name.startswith(prefix)
        }

    def _table(self, namespace: str, *, fresh: bool) -> NftTable:
        with self._lock:
            if fresh:
                self._tables.pop(namespace, None)
            return self._tables.setdefault(
                namespace, NftTable(ROUTER_TABLE, self._namespaces, namespace)
            )


class RouterSync(Reconciler):
    """Makes and removes routers, and reports them, their ports and their floating IPs."""

    name = "network.routers"
    watches = (Router, Port, FloatingIp, Subnet)
    resync_s = 60.0
    workers = 2

    def __init__(
        self, control: Control, routers: Routers, fence: Fence, release: Callable[[], None]
    ) -> None:
        super().__init__(control)
        self._routers = routers
        self._fence = fence
        self._networks_of: dict[str, tuple[str, ...]] = {}
        """Networks of the routers that were made here."""
        self._release = release
        self._router_of: dict[str, str] = {}
        """Of floating IPs and router ports that were seen: what is left to look at when a row is gone."""

    def stop(self) -> None:
        """Close what the network's reconcilers share: they are stopped together, this one last."""
        self._release()

    def keys(self) -> Iterable[str]:
        """Return the routers of this node and those that exist here."""
        rows = self.control.db.rows(Router, node_id=self.control.node_id)
        return sorted({row.id for row in rows} | self._routers.ids())

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the routers that a changed row concerns or did concern."""
        db = self.control.db
        if row_type is Router:
            return [id]
        if row_type in (FloatingIp, Port):
            found = {self._router_of.get(id, ""), self._names_router(row_type, id)} - {""}
            return sorted(found or (self._missing_for(id) if row_type is Port else ()))
        subnet = db.get(Subnet, id)
        if subnet is None:
            return []
        outside = db.rows(Router, external_network_id=subnet.network_id)
        return sorted(routers_of(db, subnet.network_id) | {router.id for router in outside})

    def _missing_for(self, port_id: str) -> set[str]:
        """Return the routers that do not exist yet and that a server's port, on whatever node, may need here."""
        port = self.control.db.get(Port, port_id)
        if port is None or not port.node_id or not port.device_owner.startswith(COMPUTE_PREFIX):
            return set()
        if any(port.network_id in networks for networks in self._networks_of.values()):
            return set()
        return routers_of(self.control.db, port.network_id)

    def _names_router(self, row_type: type[Row], row_id: str) -> str:
        """Return the router that a floating IP or port names; empty: none."""
        if row_type is FloatingIp:
            fip = self.control.db.get(FloatingIp, row_id)
            return fip.router_id if fip is not None else ""
        port = self.control.db.get(Port, row_id)
        owned = port is not None and port.device_owner in (ROUTER_INTERFACE, ROUTER_GATEWAY)
        return port.device_id if port is not None and owned else ""

    def reconcile(self, key: str) -> Done:
        """Make or remove one router, or announce its addresses once more."""
        if key.startswith(_SPEAK):
            closed = self._fence.closed()
            return Done(again_s=None if closed else self._routers.repeat(key.removeprefix(_SPEAK)))
        db = self.control.db
        router = db.get(Router, key)
        if router is None or router.node_id != self.control.node_id:
            self._remove(key)
            self._remember(key, [])
            return Done()
        if self._fence.closed():
            self._routers.forget(key)
            return Done(again_s=_REPEAT_S)
        with db.snapshot():
            ports = _ports_of(db, router)
            served = router_is_served(db, self.control.node_id, router)
            networks = {
                n.id: n for n in db.rows(Network, id=sorted({port.network_id for port in ports}))
            }
            subnet_ids = sorted({fixed.subnet_id for port in ports for fixed in port.fixed_ips})
            subnets = {subnet.id: subnet for subnet in db.rows(Subnet, id=subnet_ids)}
            fips = db.rows(FloatingIp, router_id=router.id)
        self._remember(router.id, [row.id for row in (*ports, *fips)])
        if served:
            plan = router_plan(router, ports, networks, subnets, fips)
            self._routers.apply(plan, networks.values())
            if self._routers.announce(plan):
                self.control.wake("network.routers", f"{_SPEAK}{key}")
            for network_id in set(plan.networks) - set(self._networks_of.get(key, ())):
                self.control.wake("network.overlay", network_id)
            self._networks_of[key] = plan.networks
        else:
            self._remove(key)
        return Done(ops=list(self._report(router, ports, fips)))

    def _remove(self, router_id: str) -> None:
        """Remove a router, and have looked at the bridges that may not be needed any more."""
        self._routers.remove(router_id)
        for network_id in self._networks_of.pop(router_id, ()):
            self.control.wake("network.overlay", network_id)
            self.control.wake("network.bridges", network_id)

    def _remember(self, router_id: str, row_ids: list[str]) -> None:
        gone = [row_id for row_id, of in list(self._router_of.items()) if of == router_id]
        for row_id in gone:
            self._router_of.pop(row_id, None)
        self._router_of.update(dict.fromkeys(row_ids, router_id))

    def _report(self, router: Router, ports: list[Port], fips: list[FloatingIp]) -> Iterable[AnyOp]:
        now = self.control.clock.now_us()
        have = "active" if router.admin_up else "down"
        if router.have != have:
            yield check(router)
            yield patch(Router, router.id, have=have, fault="", updated_at=now)
        for port in ports:
            wish = "active" if port.admin_up else "down"
            if port.have != wish:
                yield check(port)
                yield patch(Port, port.id, have=wish, updated_at=now)
        for fip in fips:
            if fip.port_id and fip.have != "active":
                yield check(fip)
                yield patch(FloatingIp, fip.id, have="active", updated_at=now)


def _ports_of(db: Reader, router: Router) -> list[Port]:
    owners = (ROUTER_INTERFACE, ROUTER_GATEWAY)
    return [port for port in db.rows(Port, device_id=router.id) if port.device_owner in owners]
