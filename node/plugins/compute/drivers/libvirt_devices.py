"""Devices of running guests, by libvirt: what plugs into a domain and comes out of it."""

import contextlib
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from node.plugins.compute.domain_xml import InterfacePlan, interface_xml
from node.plugins.compute.guest_usage import GuestUsage, of_stats

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_STATS = (
    libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)


def interfaces(domain: Any) -> dict[str, str]:
    """Return MAC address by tap."""
    return {tap: mac for tap, mac, _element in _found(domain)}


def plug(domain: Any, plan: InterfacePlan) -> None:
    """Plug an interface in."""
    domain.attachDeviceFlags(interface_xml(plan), _LIVE)


def unplug(domain: Any, mac: str) -> None:
    """Ask the guest to let an interface go; asking again while it considers that is no error."""
    for _tap, found, element in _found(domain):
        if found == mac:
            with contextlib.suppress(libvirt.libvirtError):
                domain.detachDeviceFlags(ET.tostring(element, encoding="unicode"), _LIVE)


def usage(domain: Any) -> GuestUsage | None:
    """Return what a running guest has used."""
    if not domain.isActive():
        return None
    (found,) = domain.connect().domainListGetStats([domain], _STATS) or [(None, {})]
    return of_stats(found[1], interfaces(domain))


def _found(domain: Any) -> list[tuple[str, str, ET.Element]]:
    root = ET.fromstring(domain.XMLDesc())  # noqa: S314 - libvirt's own
    found = []
    for element in root.iterfind("./devices/interface"):
        tap, mac = element.find("target"), element.find("mac")
        if tap is not None and mac is not None:
            found.append((tap.get("dev", ""), mac.get("address", "").lower(), element))
    return found
