"""Which path of the metadata service answers what, and which port a question comes from."""

import ipaddress
from collections.abc import Iterable, Mapping

from node.plugins.network.tables import IpAllocation, Port, Subnet
from node.sdk import Reader


def answer(files: Mapping[str, bytes], path: str) -> bytes | None:
    """Return a file or a directory's listing (one entry a line), or None where there is neither.

    Directories of the EC2 tree are listed with a slash behind directories, those of the OpenStack tree without, as
    Nova does; the root lists what it holds without slashes.
    """
    wanted = path.strip("/")
    if wanted in files:
        return files[wanted]
    if f"{wanted}/" in files:
        return files[f"{wanted}/"]
    prefix = f"{wanted}/" if wanted else ""
    entries: dict[str, bool] = {}
    for name in files:
        if name.startswith(prefix) and name != prefix:
            head, slash, _rest = name[len(prefix) :].partition("/")
            entries[head] = entries.get(head, False) or bool(slash)
    if not entries:
        return None
    marked = "/meta-data" in f"/{wanted}"
    return "\n".join(
        f"{name}/" if is_dir and marked else name for name, is_dir in entries.items()
    ).encode()


def mac_of(address: ipaddress.IPv6Address) -> str:
    """Return the MAC that makes a link-local address (EUI-64), the only one that port security lets a guest use."""
    octets = bytearray(address.packed[8:])
    octets[0] ^= 0x02
    return bytes([*octets[:3], *octets[5:]]).hex(":")


def find_port(db: Reader, network_ids: Iterable[str], source: str) -> Port | None:
    """Return the port that has an address on one of the networks."""
    address = ipaddress.ip_address(source)
    if isinstance(address, ipaddress.IPv6Address) and address.is_link_local:
        mac = mac_of(address)
        return next(
            (port for one in sorted(network_ids) for port in db.rows(Port, network_id=one, mac_address=mac)),
            None,
        )
    for subnet in db.rows(Subnet, network_id=sorted(network_ids)):
        if address in ipaddress.ip_network(subnet.cidr):
            allocation = db.get(IpAllocation, f"{subnet.id}/{address}")
            port = db.get(Port, allocation.port_id) if allocation is not None else None
            if port is None:  # the allocation may be missing, the port is what counts
                ports = db.rows(Port, network_id=subnet.network_id)
                holders = (
                    p for p in ports if any(f.ip_address == str(address) for f in p.fixed_ips)
                )
                port = next(holders, None)
            if port is not None:
                return port
    return None
