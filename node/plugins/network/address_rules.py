"""Which addresses a port gets: chosen from rows, reserved by inserting IpAllocation rows.

Hard part: many requests choose at once without seeing each other. A choice is random over the pool, so that two
rarely meet; where they do, the insert of the second is refused and its plan runs again.
"""

import ipaddress
import random
from collections.abc import Iterable, Sequence

from node.plugins.network.converters import WishedAddress
from node.plugins.network.faults import (
    bad,
    conflict,
    invalid_input,
    missing,
    no_more_addresses,
)
from node.plugins.network.tables import IpAllocation, PortAddress, Subnet
from node.sdk import Reader

_PROBES = 12
AUTO_MODES = ("slaac", "dhcpv6-stateless")


def is_auto(subnet: Subnet) -> bool:
    """Return whether hosts make their own addresses on the subnet."""
    return subnet.ipv6_address_mode in AUTO_MODES


def allocation_id(subnet_id: str, address: str) -> str:
    """Return the id of the row that reserves an address."""
    return f"{subnet_id}/{address}"


def eui64(cidr: str, mac: str) -> str:
    """Return the address that a host with this MAC makes for itself on a /64.

    Source: RFC 4291, appendix A.
    """
    parts = [int(part, 16) for part in mac.split(":")]
    parts[0] ^= 2
    ident = int.from_bytes(bytes([*parts[:3], 0xFF, 0xFE, *parts[3:]]), "big")
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Network(cidr).network_address) + ident))


def contains(subnet: Subnet, address: str) -> bool:
    """Return whether the address lies in the subnet."""
    return ipaddress.ip_address(address) in ipaddress.ip_network(subnet.cidr)


def usable(subnet: Subnet, address: str) -> bool:
    """Return whether a host may have the address: in the subnet, neither its own nor the broadcast address."""
    network = ipaddress.ip_network(subnet.cidr)
    ip = ipaddress.ip_address(address)
    if ip not in network:
        return False
    if network.prefixlen >= network.max_prefixlen - 1:
        return True
    return ip != network.network_address and (
        network.version == 6 or ip != network.broadcast_address
    )


def pick(db: Reader, subnet: Subnet, taken: set[str]) -> str | None:
    """Return a free address of the subnet's pools, or None. `taken` holds allocation ids of the same plan."""
    ranges = [
        (int(ipaddress.ip_address(pool.start)), int(ipaddress.ip_address(pool.end)))
        for pool in subnet.allocation_pools
    ]
    total = sum(end - start + 1 for start, end in ranges)
    if not total:
        return None
    for _ in range(_PROBES):
        address = _text(subnet, _nth(ranges, random.randrange(total)))
        ident = allocation_id(subnet.id, address)
        if ident not in taken and db.get(IpAllocation, ident) is None:
            return address
    used = {row.id for row in db.rows(IpAllocation, subnet_id=subnet.id, order_by=())} | taken
    start = random.randrange(total)
    for step in range(min(total, len(used) + 1)):
        address = _text(subnet, _nth(ranges, (start + step) % total))
        if allocation_id(subnet.id, address) not in used:
            return address
    return None


class Chooser:
    """Chooses the addresses of ports on one network within one plan."""

    def __init__(self, db: Reader, network_id: str, subnets: Sequence[Subnet]) -> None:
        self._db = db
        self._network_id = network_id
        self._subnets = {subnet.id: subnet for subnet in subnets}
        self.taken: set[str] = set()
        """Allocation ids that this plan has given out."""

    def default(
        self, mac: str, device_owner: str, *, router: bool = False
    ) -> tuple[PortAddress, ...]:
        """Return one address of each IP version, and one on each subnet where hosts make their own.

        Raises:
            IpAddressGenerationFailure: 409, the pools of a version are used up.
        """
        fitting = _for_service(self._subnets.values(), device_owner)
        groups = (
            [subnet for subnet in fitting if subnet.ip_version == 4],
            [subnet for subnet in fitting if subnet.ip_version == 6 and not is_auto(subnet)],
        )
        chosen = [self._from_first(group) for group in groups if group]
        if not router:
            chosen += [self._reserve(s, eui64(s.cidr, mac)) for s in fitting if is_auto(s)]
        return tuple(chosen)

    def wished(
        self,
        wishes: Iterable[WishedAddress],
        mac: str,
        *,
        own: Sequence[PortAddress] = (),
        router: bool = False,
    ) -> tuple[PortAddress, ...]:
        """Return the addresses that a client asks for; `own` are those that the port has already.

        Raises:
            InvalidIpForNetwork, InvalidIpForSubnet, InvalidInput: 400.
            SubnetNotFound: 404.
            IpAddressAlreadyAllocated: 409.
        """
        kept = list(own)
        chosen: list[PortAddress | None] = []
        open_wishes: list[tuple[int, Subnet]] = []
        for wish in wishes:
            subnet = self._subnet_of(wish)
            if wish.ip_address:
                chosen.append(self._given(subnet, wish.ip_address, mac, kept, router=router))
            else:
                open_wishes.append((len(chosen), subnet))
                chosen.append(None)
        for place, subnet in open_wishes:
            present = next((address for address in kept if address.subnet_id == subnet.id), None)
            if present is not None:
                kept.remove(present)
                chosen[place] = present
            elif is_auto(subnet) and not router:
                chosen[place] = self._reserve(subnet, eui64(subnet.cidr, mac))
            else:
                chosen[place] = self._from_first([subnet])
        return tuple(address for address in chosen if address is not None)

    def exact(self, subnet: Subnet, address: str) -> PortAddress:
        """Return one address that must be free.

        Raises:
            IpAddressAlreadyAllocated: 409.
        """
        return self._reserve(subnet, address)

    def _subnet_of(self, wish: WishedAddress) -> Subnet:
        if wish.subnet_id:
            subnet = self._subnets.get(wish.subnet_id)
            if subnet is None:
                if self._db.get(Subnet, wish.subnet_id) is None:
                    raise missing("subnet", wish.subnet_id)
                raise invalid_input(
                    f"Failed to create port on network {self._network_id}, because fixed_ips included invalid "
                    f"subnet {wish.subnet_id}"
                )
            if wish.ip_address and not usable(subnet, wish.ip_address):
                raise bad(
                    "InvalidIpForSubnet",
                    f"IP address {wish.ip_address} is not a valid IP for the specified subnet.",
                )
            return subnet
        for subnet in self._subnets.values():
            if usable(subnet, wish.ip_address):
                return subnet
        raise bad(
            "InvalidIpForNetwork",
            f"IP address {wish.ip_address} is not a valid IP for any of the subnets on the specified network.",
        )

    def _given(
        self, subnet: Subnet, address: str, mac: str, kept: list[PortAddress], *, router: bool
    ) -> PortAddress:
        wanted = PortAddress(subnet_id=subnet.id, ip_address=address)
        if wanted in kept:
            kept.remove(wanted)
            return wanted
        if is_auto(subnet) and not router and address != eui64(subnet.cidr, mac):
            raise invalid_input(
                f"IPv6 address {address} can not be directly assigned to a port on subnet {subnet.id} as the "
                "subnet is configured for automatic addresses"
            )
        return self._reserve(subnet, address)

    def _from_first(self, subnets: Sequence[Subnet]) -> PortAddress:
        for subnet in subnets:
            address = pick(self._db, subnet, self.taken)
            if address is not None:
                self.taken.add(allocation_id(subnet.id, address))
                return PortAddress(subnet_id=subnet.id, ip_address=address)
        raise no_more_addresses(self._network_id)

    def _reserve(self, subnet: Subnet, address: str) -> PortAddress:
        ident = allocation_id(subnet.id, address)
        if ident in self.taken or self._db.get(IpAllocation, ident) is not None:
            raise conflict(
                "IpAddressAlreadyAllocated",
                f"IP address {address} already allocated in subnet {subnet.id}",
            )
        self.taken.add(ident)
        return PortAddress(subnet_id=subnet.id, ip_address=address)


def _for_service(subnets: Iterable[Subnet], device_owner: str) -> list[Subnet]:
    return [
        subnet
        for subnet in subnets
        if not subnet.service_types or device_owner in subnet.service_types
    ]


def _nth(ranges: Sequence[tuple[int, int]], number: int) -> int:
    for start, end in ranges:
        size = end - start + 1
        if number < size:
            return start + number
        number -= size
    raise IndexError(number)


def _text(subnet: Subnet, number: int) -> str:
    return str(
        ipaddress.IPv4Address(number) if subnet.ip_version == 4 else ipaddress.IPv6Address(number)
    )
