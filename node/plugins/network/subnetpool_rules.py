"""Decisions about subnet pools: prefix lengths, and which prefix a subnet gets.

Source: https://docs.openstack.org/api-ref/network/v2/#subnet-pools-extension-subnetpools
"""

import ipaddress
from collections.abc import Iterable, Sequence

from node.plugins.network import converters as to
from node.plugins.network.attributes import ABSENT, REQUIRED, Attribute, Kind, standard
from node.plugins.network.faults import bad, conflict, invalid_input
from node.plugins.network.tables import Subnet, SubnetPool
from node.sdk import NodeError

Net = ipaddress.IPv4Network | ipaddress.IPv6Network

_LENGTH = to.integer(0, 128, null=True)

KIND = Kind(
    name="subnetpool",
    plural="subnetpools",
    attributes=standard(
        Attribute(name="prefixes", convert=to.items(to.cidr, null=False), default=REQUIRED),
        Attribute(name="default_prefixlen", convert=_LENGTH),
        Attribute(name="min_prefixlen", convert=_LENGTH),
        Attribute(name="max_prefixlen", convert=_LENGTH),
        Attribute(name="default_quota", convert=to.integer(0, 2**31, null=True)),
        Attribute(name="shared", convert=to.boolean, put=False, default=False),
        Attribute(name="is_default", convert=to.boolean, default=False),
        Attribute(name="address_scope_id", convert=to.uuid_or_none, default=""),
        Attribute(name="ip_version", post=False, put=False, default=ABSENT),
    ),
)


def prefixes_of(values: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Return the IP version of prefixes and the prefixes, neighbours joined.

    Raises:
        PrefixVersionMismatch: 400.
    """
    networks = [ipaddress.ip_network(value) for value in values]
    versions = {network.version for network in networks}
    if len(versions) != 1:
        raise bad("PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
    joined = ipaddress.collapse_addresses(networks)  # type: ignore[type-var]
    return versions.pop(), tuple(str(network) for network in joined)


def check_lengths(version: int, lowest: int, default: int, highest: int) -> None:
    """Refuse prefix lengths that contradict each other.

    Raises:
        UnsupportedMinSubnetPoolPrefix, IllegalSubnetPoolPrefixBounds: 400.
    """
    if lowest < (8 if version == 4 else 64) and version == 4:
        raise bad(
            "UnsupportedMinSubnetPoolPrefix",
            f"Prefix '{lowest}' not supported in IPv{version} pool.",
        )
    widest = 32 if version == 4 else 128
    bounds = (
        ("max_prefixlen", highest, "max_prefixlen limit", widest, highest > widest),
        ("min_prefixlen", lowest, "max_prefixlen", highest, lowest > highest),
        ("default_prefixlen", default, "min_prefixlen", lowest, default < lowest),
        ("default_prefixlen", default, "max_prefixlen", highest, default > highest),
    )
    for name, length, base, base_length, wrong in bounds:
        if wrong:
            raise bad(
                "IllegalSubnetPoolPrefixBounds",
                f"Illegal prefix bounds: {name}={length}, {base}={base_length}.",
            )


def cut(pool: SubnetPool, taken: Iterable[Subnet], cidr: str, length: int | None) -> str:
    """Return the prefix that a subnet gets out of a pool: `cidr` when one is asked for, else the first free one.

    Raises:
        MinPrefixSubnetAllocationError, MaxPrefixSubnetAllocationError: 400.
        SubnetAllocationError: 409, no such prefix is free.
    """
    wanted = ipaddress.ip_network(cidr) if cidr else None
    if wanted is not None and wanted.version != pool.ip_version:
        raise invalid_input(f"cidr '{cidr}' does not match the ip_version '{pool.ip_version}'")
    size = (
        wanted.prefixlen
        if wanted is not None
        else (pool.default_prefixlen if length is None else length)
    )
    _check_size(pool, size)
    used = [ipaddress.ip_network(subnet.cidr) for subnet in taken]
    ranges = [ipaddress.ip_network(prefix) for prefix in pool.prefixes]
    if wanted is not None:
        inside = any(wanted.subnet_of(whole) for whole in ranges)  # type: ignore[arg-type]
        if not inside or any(wanted.overlaps(other) for other in used):
            raise _none_free("Cannot allocate requested subnet from the available set of prefixes")
        return str(wanted)
    for whole in sorted(ranges, key=lambda network: -network.prefixlen):
        found = _first_free(whole, used, size)
        if found:
            return found
    raise _none_free(f"Insufficient prefix space to allocate subnet size /{size}")


def meet(prefixes: Iterable[str], others: Iterable[str]) -> bool:
    """Return whether any of the prefixes overlaps any of the others."""
    mine = [ipaddress.ip_network(prefix) for prefix in prefixes]
    theirs = [ipaddress.ip_network(prefix) for prefix in others]
    return any(a.version == b.version and a.overlaps(b) for a in mine for b in theirs)


def units(cidr: str) -> int:
    """Return how much of a pool's quota a subnet takes: addresses for IPv4, /64 networks for IPv6."""
    network = ipaddress.ip_network(cidr)
    return 1 << max(0, (32 if network.version == 4 else 64) - network.prefixlen)


def _check_size(pool: SubnetPool, size: int) -> None:
    if size < pool.min_prefixlen:
        raise bad(
            "MinPrefixSubnetAllocationError",
            f"Unable to allocate subnet with prefix length {size}, minimum allowed prefix is {pool.min_prefixlen}.",
        )
    if size > pool.max_prefixlen:
        raise bad(
            "MaxPrefixSubnetAllocationError",
            f"Unable to allocate subnet with prefix length {size}, maximum allowed prefix is {pool.max_prefixlen}.",
        )


def _first_free(whole: Net, used: Sequence[Net], size: int) -> str:
    if size < whole.prefixlen:
        return ""
    step = 1 << (whole.max_prefixlen - size)
    spans = sorted(
        (int(net.network_address), int(net.broadcast_address))
        for net in used
        if net.version == whole.version
    )
    at = int(whole.network_address)
    for first, last in spans:
        if last < at:
            continue
        if first >= at + step:
            break
        at = (last // step + 1) * step
    if at + step - 1 > int(whole.broadcast_address):
        return ""
    kind = ipaddress.IPv4Address if whole.version == 4 else ipaddress.IPv6Address
    return f"{kind(at)}/{size}"


def _none_free(reason: str) -> NodeError:
    return conflict("SubnetAllocationError", f"Failed to allocate subnet: {reason}.")
