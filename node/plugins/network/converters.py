"""Values of request bodies: each function takes what JSON gave and returns what a row holds.

Every function raises ValueError with Neutron's reason, which `attributes.parse` puts behind
`Invalid input for ATTRIBUTE. Reason: `.

Source: neutron-lib's api/validators and api/converters (for the wording).
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from node.plugins.network.tables import AddressPair, AddressRange, DhcpOption, HostRoute
from node.sdk import Frozen

Convert = Callable[[Any], Any]

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_DNS_LABEL = re.compile(r"(?!-)[a-zA-Z0-9-]{1,63}(?<!-)")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
_MAX_ITEMS = 1000


def boolean(value: Any) -> bool:
    """Take true and false in the spellings that Neutron takes."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "1"):
        return True
    if isinstance(value, str) and value.lower() in ("false", "0"):
        return False
    raise ValueError(f"'{value}' cannot be converted to boolean")


def text(max_length: int = 255, *, empty: bool = True, null: bool = False) -> Convert:
    """Return a converter of strings up to a length; null becomes an empty one where that is allowed."""

    def convert(value: Any) -> str:
        if value is None and null:
            return ""
        if not isinstance(value, str):
            raise ValueError(f"'{value}' is not a valid string")
        if len(value) > max_length:
            raise ValueError(f"'{value}' exceeds maximum length of {max_length}")
        if not empty and not value.strip():
            raise ValueError(f"'{value}' Blank strings are not permitted")
        if "\x00" in value:
            raise ValueError("a string must not hold the character NUL")
        return value

    return convert


def integer(low: int, high: int, *, null: bool = False) -> Convert:
    """Return a converter of whole numbers; null stays null where that is allowed."""

    def convert(value: Any) -> int | None:
        if value is None and null:
            return None
        try:
            number = int(value) if not isinstance(value, bool | float) else None
        except (TypeError, ValueError):
            number = None
        if number is None:
            raise ValueError(f"'{value}' is not an integer")
        if number < low:
            raise ValueError(f"'{value}' is too small - must be at least '{low}'")
        if number > high:
            raise ValueError(f"'{value}' is too large - must be no larger than '{high}'")
        return number

    return convert


def one_of(choices: Sequence[Any], *, null: bool = False) -> Convert:
    """Return a converter that takes only these values; null becomes an empty string."""

    def convert(value: Any) -> Any:
        if value is None and null:
            return ""
        if value not in choices:
            raise ValueError(f"'{value}' is not in {list(choices)}")
        return value

    return convert


def uuid(value: Any) -> str:
    """Take a UUID."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError(f"'{value}' is not a valid UUID")
    return str(UUID(value)) if "-" in value else value


def uuid_or_none(value: Any) -> str:
    """Take a UUID or null, which becomes an empty string."""
    return "" if value is None else uuid(value)


def items(convert: Convert, *, null: bool = True, unique: bool = True) -> Convert:
    """Return a converter of lists to tuples; null becomes an empty one where that is allowed."""

    def convert_all(value: Any) -> tuple[Any, ...]:
        if value is None and null:
            return ()
        if not isinstance(value, list):
            raise ValueError(f"'{value}' is not a list")
        if len(value) > _MAX_ITEMS:
            raise ValueError(f"The list has more than {_MAX_ITEMS} items")
        found = tuple(convert(item) for item in value)
        if unique and any(item in found[:index] for index, item in enumerate(found)):
            raise ValueError(
                f"Duplicate items in the list: '{', '.join(str(item) for item in value)}'"
            )
        return found

    return convert_all


def ip_address(value: Any) -> str:
    """Take an IP address of either version; return its canonical text."""
    try:
        return _canonical(value)
    except ValueError:
        raise ValueError(f"'{value}' is not a valid IP address") from None


def ip_or_none(value: Any) -> str:
    """Take an IP address or null, which becomes an empty string."""
    return "" if value is None else ip_address(value)


def nameserver(value: Any) -> str:
    """Take the address of a name server."""
    try:
        return _canonical(value)
    except ValueError:
        raise ValueError(
            f"'{value}' is not a valid nameserver. '{value}' is not a valid IP address"
        ) from None


def cidr(value: Any) -> str:
    """Take a subnet in CIDR form without host bits."""
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(f"'{value}' is not a valid IP subnet")
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"'{value}' is not a valid IP subnet") from None
    return str(network)


def prefix(value: Any) -> str:
    """Take a CIDR or a single address; return CIDR form."""
    try:
        if not isinstance(value, str):
            raise ValueError
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError(f"'{value}' is not a valid IP subnet") from None


def prefix_as_given(value: Any) -> str:
    """Take what `prefix` takes; return it as it is written, a single address in CIDR form."""
    normal = prefix(value)
    return str(value) if "/" in value else normal


def mac_address(value: Any) -> str:
    """Take a unicast MAC address; return it in lower case with colons."""
    mac = value.lower().replace("-", ":") if isinstance(value, str) else ""
    if not _MAC.fullmatch(mac) or mac == "00:00:00:00:00:00":
        raise ValueError(f"'{value}' is not a valid MAC address")
    return mac


def address_ranges(value: Any) -> tuple[AddressRange, ...]:
    """Take allocation pools."""

    def convert(item: Any) -> AddressRange:
        if not isinstance(item, dict) or set(item) != {"start", "end"}:
            raise ValueError(f"Invalid data format for IP pool: '{item}'")
        return AddressRange(start=ip_address(item["start"]), end=ip_address(item["end"]))

    return tuple(items(convert, null=False, unique=False)(value))


def host_routes(value: Any) -> tuple[HostRoute, ...]:
    """Take host routes or a router's extra routes."""

    def convert(item: Any) -> HostRoute:
        if not isinstance(item, dict) or set(item) != {"destination", "nexthop"}:
            raise ValueError(f"Invalid data format for hostroute: '{item}'")
        return HostRoute(destination=cidr(item["destination"]), nexthop=ip_address(item["nexthop"]))

    return tuple(items(convert)(value))


class WishedAddress(Frozen):
    """One entry of `fixed_ips` as a client wrote it."""

    subnet_id: str = ""
    ip_address: str = ""


def fixed_ips(value: Any) -> tuple[WishedAddress, ...]:
    """Take a port's wished addresses: each with a subnet, an address, or both."""

    def convert(item: Any) -> WishedAddress:
        if not isinstance(item, dict) or set(item) - {"subnet_id", "ip_address"}:
            raise ValueError(f"Invalid data format for fixed IP: '{item}'")
        wished = WishedAddress(
            subnet_id=uuid(item["subnet_id"]) if item.get("subnet_id") is not None else "",
            ip_address=ip_address(item["ip_address"]) if item.get("ip_address") is not None else "",
        )
        if not wished.subnet_id and not wished.ip_address:
            raise ValueError(f"Invalid data format for fixed IP: '{item}'")
        return wished

    found = tuple(items(convert, unique=False)(value))
    given = [wished.ip_address for wished in found if wished.ip_address]
    for index, address in enumerate(given):
        if address in given[:index]:
            raise ValueError(f"Duplicate IP address '{address}'")
    return found


def address_pairs(value: Any) -> tuple[AddressPair, ...]:
    """Take allowed address pairs; a missing MAC address is left empty."""

    def convert(item: Any) -> AddressPair:
        if not isinstance(item, dict) or "ip_address" not in item:
            raise ValueError("AllowedAddressPair must contain ip_address")
        if set(item) - {"ip_address", "mac_address"}:
            unknown = ", ".join(sorted(set(item) - {"ip_address", "mac_address"}))
            raise ValueError(f"Unrecognized attribute(s) '{unknown}'")
        raw = item["ip_address"]
        address = cidr(raw) if isinstance(raw, str) and "/" in raw else ip_address(raw)
        mac = mac_address(item["mac_address"]) if item.get("mac_address") is not None else ""
        return AddressPair(ip_address=address, mac_address=mac)

    return tuple(items(convert, unique=True)(value))


def dhcp_options(value: Any) -> tuple[DhcpOption, ...]:
    """Take extra DHCP options; one with a null value is kept as a wish to remove it (empty value)."""

    def convert(item: Any) -> DhcpOption:
        if not isinstance(item, dict) or set(item) - {"opt_name", "opt_value", "ip_version"}:
            raise ValueError(f"Invalid data format for extra DHCP option: '{item}'")
        name = text(64, empty=False)(item.get("opt_name"))
        option_value = item.get("opt_value")
        version = integer(4, 6)(item.get("ip_version", 4))
        if version == 5:
            raise ValueError(f"'{version}' is not in [4, 6]")
        return DhcpOption(
            opt_name=name,
            opt_value="" if option_value is None else text(255)(option_value),
            ip_version=version,
        )

    return tuple(items(convert)(value))


def dns_name(value: Any) -> str:
    """Take a host name for DNS."""
    name = str(text(255, null=True)(value))
    if name and not all(_DNS_LABEL.fullmatch(part) for part in name.rstrip(".").split(".")):
        raise ValueError(f"'{name}' not a valid PQDN or FQDN. Reason: name component is not valid")
    return name.lower()


def dns_domain(value: Any) -> str:
    """Take a domain for DNS: it ends in a dot."""
    name = dns_name(value)
    if name and not name.endswith("."):
        raise ValueError(f"'{name}' is not a FQDN")
    return name


def mapping(value: Any) -> dict[str, Any]:
    """Take a JSON object; null is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"'{value}' is not a dictionary")
    return value


def tags(value: Any) -> tuple[str, ...]:
    """Take a resource's tags: at most 50 of at most 255 characters, each once."""
    found: tuple[str, ...] = items(text(255), unique=False)(value)
    if len(found) > 50:
        raise ValueError("The number of tags exceed the per-resource limit of 50")
    return tuple(dict.fromkeys(found))


def anything(value: Any) -> Any:
    """Take any JSON value; the handler looks at it."""
    return value


def _canonical(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return str(ipaddress.ip_address(value))
