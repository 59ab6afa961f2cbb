"""What a server's domain is made of: pure decisions from its rows, its image's properties and its ports."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from node.plugins.compute import names
from node.plugins.compute.disk import DiskError, ImageError
from node.plugins.compute.domain_xml import DiskPlan, DomainPlan, InterfacePlan
from node.plugins.compute.hypervisor_config import HypervisorSection
from node.plugins.compute.tables import FlavorFacts, Server
from node.sdk import PortState

_GIB = 2**30
_BUSES = {"virtio": "vda", "scsi": "sda", "sata": "sda", "ide": "hda"}
_INTERFACE_MODELS = frozenset({"virtio", "e1000", "e1000e", "rtl8139", "pcnet", "ne2k_pci"})


def flavor_of(server: Server) -> FlavorFacts:
    """Return the server's flavor, which every stored server has."""
    if server.flavor is None:
        raise DiskError(f"server {server.id} has no flavor")
    return server.flavor


def in_rescue(server: Server) -> bool:
    """Return whether a server boots from its rescue disk."""
    return server.job_kind == "rescue"


def root_size_bytes(flavor: FlavorFacts, virtual_size_bytes: int) -> int:
    """Return the size of the root disk.

    Raises:
        ImageError: the flavor's disk is smaller than the image.
    """
    if flavor.disk_gib == 0:
        return virtual_size_bytes
    if flavor.disk_gib * _GIB < virtual_size_bytes:
        raise ImageError(
            "Flavor's disk is too small for requested image. "
            f"Flavor disk is {flavor.disk_gib * _GIB} bytes, image is {virtual_size_bytes} bytes."
        )
    return flavor.disk_gib * _GIB


def domain_plan(
    server: Server,
    ports: Sequence[PortState],
    properties: Mapping[str, str],
    section: HypervisorSection,
    *,
    state_dir: Path,
    virt_type: str,
    arch: str,
    volumes: Sequence[DiskPlan] = (),
) -> DomainPlan:
    """Return the plan of a server's domain."""
    flavor = flavor_of(server)
    return DomainPlan(
        server_id=server.id,
        name=names.instance_name(server.id),
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mib,
        arch=arch,
        machine=_machine(properties.get("hw_machine_type", ""), section, arch),
        virt_type=virt_type,
        cpu_model=section.cpu_model_tcg,
        tcg_cache_mib=section.tcg_cache_mib,
        disks=_disks(
            server, flavor, properties.get("hw_disk_bus", "virtio"), state_dir, volumes
        ),
        interfaces=tuple(interface_plan(port, properties) for port in ports),
        console_log=str(names.console_log_path(state_dir, server.id)),
    )


def placed_plan(plan: DomainPlan, server_id: str, state_dir: Path) -> DomainPlan:
    """Return a plan with its files where another node has them."""
    directory = names.server_dir(state_dir, server_id)
    disks = tuple(
        msgspec.structs.replace(disk, path=str(directory / Path(disk.path).name))
        for disk in plan.disks
    )
    log = str(names.console_log_path(state_dir, server_id))
    return msgspec.structs.replace(plan, disks=disks, console_log=log)


def interface_plan(port: PortState, properties: Mapping[str, str]) -> InterfacePlan:
    """Return the plan of one interface."""
    model = properties.get("hw_vif_model", "virtio")
    return InterfacePlan(
        tap=port.tap,
        mac=port.mac,
        mtu_bytes=port.mtu_bytes,
        model=model if model in _INTERFACE_MODELS else "virtio",
    )


def _machine(asked: str, section: HypervisorSection, arch: str) -> str:
    if arch != "x86_64":
        return "virt"
    return asked if asked.startswith(("pc", "q35")) and asked.isascii() else section.machine


def _disks(
    server: Server, flavor: FlavorFacts, bus: str, state_dir: Path, volumes: Sequence[DiskPlan]
) -> tuple[DiskPlan, ...]:
    bus = bus if bus in _BUSES else "virtio"
    root = names.disk_path(state_dir, server.id)
    letter = _BUSES[bus][:2]
    boots = [plan for plan in volumes if plan.boot_order]
    plans = boots or [DiskPlan(path=str(root), target=f"{letter}a", bus=bus, boot_order=1)]
    others = [plan for plan in volumes if not plan.boot_order]
    if in_rescue(server):
        rescue = names.rescue_path(state_dir, server.id)
        aside = f"{letter}y" if others else f"{letter}b"
        own = msgspec.structs.replace(plans[0], target=aside, boot_order=0)
        plans = [DiskPlan(path=str(rescue), target=f"{letter}a", bus=bus, boot_order=1), own]
    extras = [(flavor.ephemeral_gib, "disk.eph0"), (flavor.swap_mib, "disk.swap")]
    for size, name in extras:
        if size:
            place = len(plans) - (in_rescue(server) and bool(others))
            target = f"{letter}{'abcd'[place]}"
            plans.append(
                DiskPlan(path=str(root.with_name(name)), target=target, bus=bus, format="raw")
            )
    plans += others
    if server.config_drive:
        drive = names.config_drive_path(state_dir, server.id)
        plans.append(
            DiskPlan(path=str(drive), target="vdz", format="raw", read_only=True, serial="config-2")
        )
    return tuple(plans)
