"""Desired links: what the planners return and `drivers.links` makes real."""

from node.sdk import Frozen


class BridgePlan(Frozen):
    """A bridge in the node's namespace."""

    name: str
    mac: str
    mtu_bytes: int
    addresses: tuple[str, ...] = ()
    """In CIDR form: the gateway addresses of an external network."""


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


class RoutePlan(Frozen):
    """A route of a namespace. Without `via` the destination is on the link `dev`."""

    destination: str
    via: str = ""
    dev: str = ""
