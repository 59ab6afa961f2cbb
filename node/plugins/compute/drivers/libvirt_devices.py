"""Devices of running guests, by libvirt: what plugs into a domain and comes out of it."""

import contextlib
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from node.plugins.compute.domain_xml import DiskPlan, InterfacePlan, disk_xml, interface_xml

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE


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


def volumes(domain: Any) -> dict[str, int]:
    """Return size in bytes by serial."""
    return {
        serial: int(domain.blockInfo(target)[0]) for serial, target, _element in _volumes(domain)
    }


def plug_volume(domain: Any, plan: DiskPlan) -> None:
    """Plug a volume in, unless it is."""
    if all(serial != plan.serial for serial, _target, _element in _volumes(domain)):
        domain.attachDeviceFlags(disk_xml(plan), _LIVE)


def unplug_volume(domain: Any, serial: str) -> None:
    """Ask the guest to let a volume go; asking again while it considers that is no error."""
    for found, _target, element in _volumes(domain):
        if found == serial:
            with contextlib.suppress(libvirt.libvirtError):
                domain.detachDeviceFlags(ET.tostring(element, encoding="unicode"), _LIVE)


def resize_volume(domain: Any, serial: str, size_bytes: int) -> None:
    """Have QEMU look at a volume's size again."""
    for found, target, _element in _volumes(domain):
        if found == serial:
            domain.blockResize(target, size_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def _volumes(domain: Any) -> list[tuple[str, str, ET.Element]]:
    """Return serial, target and XML of each disk that is a volume."""
    root = ET.fromstring(domain.XMLDesc())  # noqa: S314 - libvirt's own
    found = []
    for element in root.iterfind("./devices/disk[@type='network']"):
        target = element.find("target")
        if target is not None:
            found.append((element.findtext("serial", ""), target.get("dev", ""), element))
    return found


def _found(domain: Any) -> list[tuple[str, str, ET.Element]]:
    root = ET.fromstring(domain.XMLDesc())  # noqa: S314 - libvirt's own
    found = []
    for element in root.iterfind("./devices/interface"):
        tap, mac = element.find("target"), element.find("mac")
        if tap is not None and mac is not None:
            found.append((tap.get("dev", ""), mac.get("address", "").lower(), element))
    return found
