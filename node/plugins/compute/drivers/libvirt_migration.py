"""A guest's way from one libvirtd to another, with its disks.

The caller's two connections drive it (not the daemons among themselves), so that it ends when this process does:
libvirt then lets the guest go on where it was. Paths are those of the other node; all else is as the guest has it now.
"""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from node.plugins.compute.domain_xml import domain_xml
from node.plugins.compute.drivers.hypervisor import HypervisorRefused, MigrationWay

_RUN = "/run/libvirt"
_ON_ITS_WAY = {libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP}
_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_NON_SHARED_DISK
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
)


def move(domain: Any, way: MigrationWay) -> None:
    """Move a domain; it is here no more, but for its definition, when this returns.

    Raises:
        HypervisorRefused: it stays here, unless it does not run here any more.
    """
    try:
        _move(domain, way)
    except libvirt.libvirtError as error:
        # Of the other node's libvirtd as well as of this one: neither is found to be broken by that.
        raise HypervisorRefused(error.get_error_message() or str(error)) from error


def _move(domain: Any, way: MigrationWay) -> None:
    other = libvirt.open(_uri(way.control_path))
    try:
        parameters: dict[str, Any] = {
            libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{_RUN}/{way.memory}",
            libvirt.VIR_MIGRATE_PARAM_DISKS_URI: f"unix://{_RUN}/{way.disks}",
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: _placed(domain, way),
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: domain_xml(way.plan),
        }
        domain.migrate3(other, parameters, _FLAGS)
    finally:
        other.close()


def goes_on(server_id: str, control_path: Path) -> bool | None:
    """Say whether another libvirtd runs a domain that has arrived there; None where it does not answer."""
    try:
        other = libvirt.open(_uri(control_path))
    except libvirt.libvirtError:
        return None
    try:
        number, reason = other.lookupByUUIDString(server_id).state()
    except libvirt.libvirtError as error:
        return False if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN else None
    finally:
        other.close()
    if number == libvirt.VIR_DOMAIN_PAUSED:
        return reason not in _ON_ITS_WAY
    return number in {libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED}


def _uri(control_path: Path) -> str:
    return f"qemu+unix:///system?socket={control_path}"


def _placed(domain: Any, way: MigrationWay) -> str:
    """Return the domain as it is now, with its files where they are there."""
    root = ET.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE))  # noqa: S314 - libvirt's own
    paths = {Path(disk.path).name: disk.path for disk in way.plan.disks}
    for source in root.iterfind("./devices/disk/source"):
        source.set("file", paths.get(Path(source.get("file", "")).name, source.get("file", "")))
    for log in root.iter("log"):
        log.set("file", way.plan.console_log)
    return ET.tostring(root, encoding="unicode")
