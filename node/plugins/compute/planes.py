"""Builds the hypervisor half of the plugin for one node: what the hooks in __init__.py hand on."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from node.plugins.compute.host import architecture, node_resources
from node.plugins.compute.hypervisor_config import HypervisorSection
from node.plugins.compute.kvm_probe import ProbeAnswer, probe_kvm
from node.plugins.compute.libvirt_daemon import LibvirtDaemon, end_guests
from node.plugins.compute.migration_sync import MigrationSync
from node.plugins.compute.server_build import ServerBuilder
from node.plugins.compute.server_files import ServerFiles
from node.plugins.compute.server_interfaces import ServerInterfaces
from node.plugins.compute.server_jobs import ServerJobs
from node.plugins.compute.server_snapshot import ServerSnapshots
from node.plugins.compute.server_sync import ServerSync
from node.plugins.compute.server_volumes import ServerVolumes
from node.sdk import Control, Reconciler


class VirtType:
    """How guests run here: as configured, or found out by a probe that begins at once."""

    def __init__(self, configured: str, cache: Path) -> None:
        self._answer = configured
        self._thread = threading.Thread(target=self._probe, args=(cache,), daemon=True)
        if not configured:
            self._thread.start()

    def __call__(self) -> str:
        """Return kvm or qemu; waits for the probe, which takes three seconds at most."""
        if not self._answer:
            self._thread.join()
        return self._answer

    def _probe(self, cache: Path) -> None:
        answer = probe_kvm(cache, qemu=f"qemu-system-{architecture()}")
        self._answer = "kvm" if answer.works else "qemu"


def reconcilers(control: Control) -> Sequence[Reconciler]:
    """Return the reconciler of this node's servers, on a libvirtd of the node's own."""
    from node.plugins.compute.drivers.libvirt_driver import LibvirtHypervisor

    section = control.config.section(HypervisorSection)
    state_dir = control.config.state_dir
    files = ServerFiles(state_dir)
    daemon = libvirt_daemon(state_dir, host_uuid(control.node_id))
    hypervisor = LibvirtHypervisor(daemon)
    builder = ServerBuilder(control, files, section)
    virt_type = VirtType(section.virt_type, _probe_cache(state_dir))
    snapshots = ServerSnapshots(control, hypervisor)
    volumes = ServerVolumes(control, hypervisor, files)
    jobs = ServerJobs(
        hypervisor, builder, files, section, virt_type, snapshots, volumes, control
    )
    interfaces = ServerInterfaces(hypervisor, builder, files)
    return [
        ServerSync(control, hypervisor, files, jobs, interfaces, volumes),
        MigrationSync(control, files, builder, daemon.root),
    ]


def libvirt_daemon(state_dir: Path, uuid: str = "") -> LibvirtDaemon:
    """Return the node's libvirtd, running or not."""
    return LibvirtDaemon(state_dir / "libvirt", uuid)


def node_facts(control: Control) -> Mapping[str, str]:
    """Return what the node has for servers, and how it runs them once that is known."""
    section = control.config.section(HypervisorSection)
    found = node_resources(
        control.config.state_dir,
        reserved_memory_mib=section.reserved_memory_mib,
        reserved_disk_gib=section.reserved_disk_gib,
    )
    facts = {
        "vcpus": str(found.vcpus),
        "memory_mib": str(found.memory_mib),
        "disk_gib": str(found.disk_gib),
        "arch": architecture(),
    }
    if virt_type := section.virt_type or _probed(control.config.state_dir):
        facts["virt_type"] = virt_type
    return facts


def health(control: Control) -> Sequence[tuple[str, bool, str]]:
    """Say whether libvirtd answers and how guests run."""
    state_dir = control.config.state_dir
    pid = libvirt_daemon(state_dir).pid()
    answer = (
        f"libvirtd runs (pid {pid})" if pid else "libvirtd does not run; it is started when needed"
    )
    virt_type = control.config.section(HypervisorSection).virt_type or _probed(state_dir)
    how = {"kvm": "guests run with KVM", "qemu": "guests are emulated (TCG): slow, but they run"}
    return (
        ("libvirt", bool(pid), answer),
        ("virtualisation", True, how.get(virt_type, "the probe of KVM has not ended yet")),
    )


def host_uuid(node_id: str) -> str:
    """Return the node's id in the form that libvirt wants: migration compares it."""
    import uuid

    try:
        return str(uuid.UUID(node_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"hedgerow-node:{node_id}"))


def teardown(state_dir: Path) -> int:
    """End every guest of the node and its libvirtd, and remove libvirt's files; return how many guests there were.

    Guests are ended by their processes: this works also where libvirtd does not start any more.
    """
    daemon = libvirt_daemon(state_dir)
    if not daemon.root.exists():
        return 0
    daemon.stop()
    ended = end_guests(daemon.root)
    daemon.erase()
    return ended


def _probe_cache(state_dir: Path) -> Path:
    return state_dir / "instances" / "_kvm_probe.json"


def _probed(state_dir: Path) -> str:
    try:
        answer = msgspec.json.decode(_probe_cache(state_dir).read_bytes(), type=ProbeAnswer)
    except (OSError, msgspec.DecodeError):
        return ""
    return "kvm" if answer.works else "qemu"
