"""Devices of running guests, by libvirt: what plugs into a domain and comes out of it."""

import contextlib
from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import libvirt_qemu

from node.plugins.compute.domain_xml import DiskPlan, InterfacePlan, disk_xml, interface_xml
from node.plugins.compute.guest_usage import GuestUsage, of_stats

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_STATS = (
    libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
RECONNECTS = libvirt.getVersion() >= 9_001_000
"""Whether libvirt knows how long NBD requests may wait for another connection."""


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


def volumes(domain: Any) -> dict[str, int]:
    """Return size in bytes by serial."""
    return {
        serial: int(domain.blockInfo(target)[0]) for serial, target, _element in _volumes(domain)
    }


def plug_volume(domain: Any, plan: DiskPlan) -> None:
    """Plug a volume in, unless it is."""
    if all(serial != plan.serial for serial, _target, _element in _volumes(domain)):
        domain.attachDeviceFlags(disk_xml(plan, reconnects=RECONNECTS), _LIVE)


def unplug_volume(domain: Any, serial: str) -> None:
    """Ask the guest to let a volume go; asking again while it considers that is no error."""
    for found, _target, element in _volumes(domain):
        if found == serial:
            with contextlib.suppress(libvirt.libvirtError):
                domain.detachDeviceFlags(ET.tostring(element, encoding="unicode"), _LIVE)


def resize_volume(domain: Any, serial: str, size_bytes: int) -> None:
    """Have QEMU look at a volume's size again."""
    for found, target, element in _volumes(domain):
        if found == serial:
            _reconnect(domain, element)
            domain.blockResize(target, size_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def _reconnect(domain: Any, element: ET.Element) -> None:
    """Have QEMU read from a disk: it sees only then that its server was replaced, and connects to the new one."""
    alias = element.find("alias")
    name = alias.get("name", "") if alias is not None else ""
    if not name.replace("-", "").isalnum():
        return
    for _attempt in range(2):  # the first one may find the old connection broken
        with contextlib.suppress(libvirt.libvirtError):
            flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            libvirt_qemu.qemuMonitorCommand(domain, f'qemu-io -d {name} "read 0 512"', flags)


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
