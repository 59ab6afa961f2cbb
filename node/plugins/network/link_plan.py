"""Desired links: what the planners return and `drivers.links` makes real."""

from node.sdk import Frozen


class BridgePlan(Frozen):
    """A bridge in the node's namespace."""

    name: str
    mac: str
    mtu_bytes: int
    addresses: tuple[str, ...] = ()
    """In CIDR form: the gateway addresses of an external network."""
    uplink: str = ""
    """The physical link that belongs into it; empty: none."""


class TapPlan(Frozen):
    """A persistent tap that QEMU opens."""

    name: str
    bridge: str
    mac: str
    mtu_bytes: int
    up: bool = True


class VethPlan(Frozen):
    """A pair of links: `host` in a bridge of the node, `inner` in a namespace."""

    host: str
    bridge: str
    namespace: str
    inner: str
    mac: str
    """Of the inner end."""
    mtu_bytes: int
    addresses: tuple[str, ...] = ()
    """Of the inner end, in CIDR form."""


class TunnelPlan(Frozen):
    """A VXLAN link in a network's bridge: the way to the network's guests on other nodes."""

    name: str
    bridge: str
    vni: int
    local: str
    """This node's address."""
    mtu_bytes: int
    loose: bool = False
    """Guests may use addresses that rows do not tell: let questions and strange frames through to all."""
    port: int = 4789


class RoutePlan(Frozen):
    """A route of a namespace. Without `via` the destination is on the link `dev`."""

    destination: str
    via: str = ""
    dev: str = ""
