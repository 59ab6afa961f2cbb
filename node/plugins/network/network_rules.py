"""Decisions about networks: what is asked for, which segment it gets, when it may go."""

import random
from collections.abc import Iterable

from node.plugins.network import converters as to
from node.plugins.network.attributes import Attribute, Kind, Wish, standard
from node.plugins.network.faults import conflict, invalid_input
from node.plugins.network.revise import in_use_counter
from node.plugins.network.tables import Network, Segment
from node.sdk import AnyOp, Count, Delete, NodeError, NodeRow, Reader

OVERLAY_BYTES = 50
"""What VXLAN over IPv4 takes from the underlay's MTU."""
DEFAULT_MTU_BYTES = 1500
LOWEST_MTU_BYTES = {4: 68, 6: 1280}
LOWEST_VNI, HIGHEST_VNI = 1000, (1 << 24) - 1

KIND = Kind(
    name="network",
    plural="networks",
    attributes=standard(
        Attribute(name="admin_state_up", convert=to.boolean, default=True),
        Attribute(name="shared", convert=to.boolean, default=False),
        Attribute(name="router:external", convert=to.boolean, default=False),
        Attribute(name="is_default", convert=to.boolean, default=False),
        Attribute(name="mtu", convert=to.integer(0, 65535), default=0),
        Attribute(name="port_security_enabled", convert=to.boolean, default=True),
        Attribute(name="dns_domain", convert=to.dns_domain, default=""),
        Attribute(
            name="availability_zone_hints", convert=to.items(to.text(255)), put=False, default=()
        ),
        Attribute(
            name="provider:network_type",
            convert=to.one_of(("vxlan", "flat", "vlan", "local"), null=True),
            default="",
        ),
        Attribute(name="provider:physical_network", convert=to.text(64, null=True), default=""),
        Attribute(
            name="provider:segmentation_id",
            convert=to.integer(1, (1 << 24) - 1, null=True),
            default=None,
        ),
        Attribute(name="subnets", post=False, put=False),
        Attribute(name="availability_zones", post=False, put=False),
        Attribute(name="ipv4_address_scope", post=False, put=False),
        Attribute(name="ipv6_address_scope", post=False, put=False),
    ),
)

FIELDS = {
    "name": "name",
    "description": "description",
    "admin_state_up": "admin_up",
    "shared": "shared",
    "router:external": "external",
    "is_default": "is_default",
    "port_security_enabled": "port_security",
    "dns_domain": "dns_domain",
}
"""Row field of each attribute that is stored as it is given."""


def segment(wish: Wish) -> tuple[str, str, int]:
    """Return (network type, physical network, segmentation id) of a new network.

    Raises:
        InvalidInput: 400, the provider attributes do not fit together.
    """
    kind = wish.get("provider:network_type") or ""
    physical = wish.get("provider:physical_network") or ""
    number = wish.get("provider:segmentation_id") or 0
    if not kind:
        if physical or number:
            raise invalid_input("network_type required")
        return "vxlan", "", random.randint(LOWEST_VNI, HIGHEST_VNI)
    if kind in ("flat", "vlan") and not physical:
        raise invalid_input(f"physical_network required for {kind} provider network")
    if kind in ("flat", "local") and number:
        raise invalid_input(f"segmentation_id prohibited for {kind} provider network")
    if kind in ("vxlan", "local") and physical:
        raise invalid_input(f"provider:physical_network specified for {kind} network")
    if kind == "vlan" and not 1 <= number <= 4094:
        raise invalid_input("segmentation_id out of range (1 through 4094)")
    if kind == "vxlan" and not number:
        number = random.randint(LOWEST_VNI, HIGHEST_VNI)
    return kind, physical, number


def segment_id(kind: str, physical: str, number: int) -> str:
    """Return the id of the Segment row that reserves a segment; empty: nothing to reserve."""
    return {
        "vxlan": f"vxlan/{number}",
        "vlan": f"vlan/{physical}/{number}",
        "flat": f"flat/{physical}",
        "local": "",
    }[kind]


def segment_taken(wish: Wish, kind: str, physical: str, number: int) -> NodeError | None:
    """Return the 409 of a segment that another network has; None where we chose it: choose again."""
    if kind == "flat":
        return conflict(
            "FlatNetworkInUse",
            f"Unable to create the flat network. Physical network {physical} is in use.",
        )
    if not wish.get("provider:segmentation_id"):
        return None
    if kind == "vlan":
        return conflict(
            "VlanIdInUse",
            f"Unable to create the network. The VLAN {number} on physical network {physical} is in use.",
        )
    return conflict(
        "TunnelIdInUse", f"Unable to create the network. The tunnel ID {number} is in use."
    )


def underlay_mtu_bytes(db: Reader) -> int:
    """Return the smallest MTU between the nodes, as they report it in the fact `underlay_mtu_bytes`."""
    reported = [row.facts.get("underlay_mtu_bytes", "") for row in db.rows(NodeRow, order_by=())]
    sizes = [int(text) for text in reported if text.isdigit()]
    return min(sizes, default=DEFAULT_MTU_BYTES)


def mtu(db: Reader, kind: str, wished: int, *, external: bool = False) -> int:
    """Return a network's MTU; what is external has no tunnel.

    Raises:
        InvalidInput: 400, greater than the underlay carries.
    """
    most = underlay_mtu_bytes(db) - (OVERLAY_BYTES if kind == "vxlan" and not external else 0)
    if wished == 0:
        return most
    if wished > most:
        raise invalid_input(f"Requested MTU is too big, maximum is {most}")
    return wished


def check_subnet_mtu(mtu_bytes: int, ip_versions: Iterable[int]) -> None:
    """Refuse an MTU that is too small for subnets of these IP versions.

    Raises:
        NetworkMTUSubnetConflict: 409.
    """
    for version in ip_versions:
        least = LOWEST_MTU_BYTES[version]
        if mtu_bytes < least:
            raise conflict(
                "NetworkMTUSubnetConflict",
                f"Current network MTU {mtu_bytes} is less than the minimum of {least} that a subnet of "
                f"IPv{version} needs.",
            )


def in_use(network: Network, ports: list[str]) -> NodeError:
    """Return the 409 of a network that still has ports."""
    return conflict(
        "NetworkInUse",
        f"Unable to complete operation on network {network.id}. There are one or more ports still in use on "
        f"the network, id for these ports is: {','.join(ports)}.",
    )


def delete_ops(network: Network) -> list[AnyOp]:
    """Return the operations that remove a network itself, refused while any port but DHCP's is on it."""
    counter = in_use_counter(Network, network.id)
    ops: list[AnyOp] = [Count(counter, 1, 1), Count(counter, -1)]
    reserved = segment_id(network.network_type, network.physical_network, network.segmentation_id)
    if reserved:
        ops.append(Delete(Segment.__table__.name, reserved))
    return ops
