"""What a router's namespace holds: pure functions of rows."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from node.plugins.network.link_plan import RoutePlan, VethPlan
from node.plugins.network.names import (
    bridge_name,
    gateway_inner,
    gateway_link,
    interface_inner,
    interface_link,
    router_namespace,
)
from node.plugins.network.network_plan import MIN_MTU_BYTES
from node.plugins.network.nft_plan import Fragment, TableSpec
from node.plugins.network.tables import (
    METADATA_ADDRESS,
    ROUTER_GATEWAY,
    FloatingIp,
    Network,
    Port,
    Router,
    Subnet,
)
from node.sdk import Frozen

METADATA_PORT = 9697

ROUTER_TABLE = TableSpec(
    family="ip",
    name="hedgerow_router",
    skeleton=f"""
  map dnat_to {{ type ipv4_addr : ipv4_addr ; }}
  map snat_to {{ type ipv4_addr : ipv4_addr ; }}
  chain hidden {{ }}
  chain entering {{ }}
  chain before {{
    type nat hook prerouting priority -100; policy accept;
    iifname "qr-*" ip daddr {METADATA_ADDRESS} tcp dport 80 redirect to :{METADATA_PORT}
    dnat to ip daddr map @dnat_to
  }}
  chain after {{
    type nat hook postrouting priority 100; policy accept;
    oifname "qr-*" iifname "qg-*" return
    oifname "qr-*" ct status dnat snat to ip saddr map @snat_to
    oifname "qr-*" ct status dnat jump hidden
    oifname "qg-*" snat to ip saddr map @snat_to
    oifname "qg-*" jump hidden
  }}
  chain through {{
    type filter hook forward priority 0; policy accept;
    tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu
    iifname "qg-*" oifname "qr-*" ct state new jump entering
  }}
  chain inside {{
    type filter hook input priority 0; policy accept;
    iifname "qg-*" tcp dport {METADATA_PORT} drop
    iifname "qg-*" ip daddr {METADATA_ADDRESS} drop
  }}
""",
)


class RouterPlan(Frozen):
    """A router's namespace."""

    router_id: str
    namespace: str
    veths: tuple[VethPlan, ...]
    gateway: VethPlan | None
    """Also among `veths`."""
    routes: tuple[RoutePlan, ...]
    nat: Fragment
    networks: tuple[str, ...]
    """Networks behind it."""
    advertised: tuple[tuple[str, Subnet], ...] = ()
    """(inner link, IPv6 subnet) that router advertisements go out for."""


def router_plan(
    router: Router,
    ports: Iterable[Port],
    networks: Mapping[str, Network],
    subnets: Mapping[str, Subnet],
    floating_ips: Iterable[FloatingIp],
) -> RouterPlan:
    """Return a router's namespace; `networks` and `subnets` by id hold what its ports refer to."""
    fips = sorted(
        (
            fip
            for fip in floating_ips
            if fip.router_id == router.id and fip.port_id and fip.fixed_ip_address
        ),
        key=lambda fip: fip.id,
    )
    veths: list[VethPlan] = []
    gateway: VethPlan | None = None
    gateway_port: Port | None = None
    inner_networks: list[str] = []
    advertised: list[tuple[str, Subnet]] = []
    for port in sorted(ports, key=lambda port: port.id):
        network = networks.get(port.network_id)
        if network is None or not port.admin_up:
            continue
        outside = port.device_owner == ROUTER_GATEWAY
        veth = _veth(
            router, port, network, subnets, [fip.address for fip in fips] if outside else []
        )
        veths.append(veth)
        if outside:
            gateway, gateway_port = veth, port
        else:
            inner_networks.append(network.id)
            held = [subnets[f.subnet_id] for f in port.fixed_ips if f.subnet_id in subnets]
            advertised += [(veth.inner, subnet) for subnet in held if subnet.ipv6_ra_mode]
    return RouterPlan(
        router_id=router.id,
        namespace=router_namespace(router.id),
        veths=tuple(veths),
        gateway=gateway,
        routes=tuple(_routes(router, gateway_port, subnets)),
        nat=_nat(router, gateway_port, fips),
        networks=tuple(sorted(set(inner_networks))),
        advertised=tuple(advertised),
    )


def lost_translations(before: Fragment, after: Fragment) -> list[tuple[str, str]]:
    """Return (floating, fixed) addresses that are translated no more, or elsewhere."""
    now = after.elements.get("dnat_to", {})
    return [
        (fip, fixed)
        for fip, fixed in before.elements.get("dnat_to", {}).items()
        if now.get(fip) != fixed
    ]


def _veth(
    router: Router, port: Port, network: Network, subnets: Mapping[str, Subnet], more: Sequence[str]
) -> VethPlan:
    outside = port.device_owner == ROUTER_GATEWAY
    addresses = [
        f"{fixed.ip_address}/{ipaddress.ip_network(subnets[fixed.subnet_id].cidr).prefixlen}"
        for fixed in port.fixed_ips
        if fixed.subnet_id in subnets
    ]
    return VethPlan(
        host=gateway_link(port.id) if outside else interface_link(port.id),
        bridge=bridge_name(network.id),
        namespace=router_namespace(router.id),
        inner=gateway_inner(port.id) if outside else interface_inner(port.id),
        mac=port.mac_address,
        mtu_bytes=max(MIN_MTU_BYTES, network.mtu_bytes),
        addresses=(*addresses, *(f"{address}/32" for address in more)),
    )


def _routes(
    router: Router, gateway: Port | None, subnets: Mapping[str, Subnet]
) -> Iterable[RoutePlan]:
    taken = {route.destination for route in router.routes}
    for fixed in gateway.fixed_ips if gateway is not None else ():
        subnet = subnets.get(fixed.subnet_id)
        default = "::/0" if subnet is not None and subnet.ip_version == 6 else "0.0.0.0/0"
        if subnet is not None and subnet.gateway_ip and default not in taken:
            taken.add(default)
            yield RoutePlan(destination=default, via=subnet.gateway_ip)
    for route in router.routes:
        yield RoutePlan(destination=route.destination, via=route.nexthop)


def _nat(router: Router, gateway: Port | None, fips: Sequence[FloatingIp]) -> Fragment:
    outer = (
        [fixed.ip_address for fixed in gateway.fixed_ips if ":" not in fixed.ip_address]
        if gateway
        else []
    )
    hides = bool(outer) and router.enable_snat
    return Fragment(
        chains={
            "hidden": (f"snat to {outer[0]}",) if hides else (),
            "entering": ("ct status dnat accept", "drop") if hides else (),
        },
        elements={
            "dnat_to": {fip.address: fip.fixed_ip_address for fip in fips},
            "snat_to": {fip.fixed_ip_address: fip.address for fip in fips},
        },
    )
