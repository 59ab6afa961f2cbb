"""A server's domain as libvirt's XML: pure functions of a plan.

Guests know an OpenStack instance by the SMBIOS product name "OpenStack Nova"; cloud-init looks for metadata only
then. `<acpi/>` is always there: libvirt 9 cannot start QEMU 10 without it. Taps are made and owned by the network
plugin (`managed="no"`). Source: libvirt's domain XML reference.
"""

from xml.etree import ElementTree as ET

from node.sdk import Frozen

_RECONNECT_S = 600
"""How long a guest's requests wait for a volume whose server is gone."""


class DiskPlan(Frozen):
    """One disk. `path` is a local file; `format` raw or qcow2."""

    path: str
    """A local file, or the socket of an NBD server where `export` names what it serves."""
    target: str
    export: str = ""
    shared: bool = False
    """Whether other guests write to it too."""
    format: str = "qcow2"
    device: str = "disk"
    """disk or cdrom."""
    bus: str = "virtio"
    serial: str = ""
    boot_order: int = 0
    read_only: bool = False


class InterfacePlan(Frozen):
    """One network interface on a tap that exists."""

    tap: str
    mac: str
    mtu_bytes: int = 0
    model: str = "virtio"


class DomainPlan(Frozen):
    """All that a domain is made of."""

    server_id: str
    name: str
    vcpus: int = 1
    memory_mib: int = 128
    arch: str = "x86_64"
    machine: str = "pc"
    virt_type: str = "qemu"
    """kvm or qemu (TCG)."""
    cpu_model: str = "Nehalem"
    """Of TCG; with KVM the host's model is shown."""
    tcg_cache_mib: int = 32
    disks: tuple[DiskPlan, ...] = ()
    interfaces: tuple[InterfacePlan, ...] = ()
    console_log: str = ""
    version: str = "1"


def domain_xml(plan: DomainPlan, *, reconnects: bool = True) -> str:
    """Return the XML that defines a domain; `reconnects` says whether libvirt knows of delays of NBD (9.1 does)."""
    domain = ET.Element("domain", type=plan.virt_type)
    _add(domain, "name", plan.name)
    _add(domain, "uuid", plan.server_id)
    _add(domain, "memory", str(plan.memory_mib), unit="MiB")
    _add(domain, "vcpu", str(plan.vcpus))
    _system(domain, plan)
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        _add(domain, f"on_{event}", action)
    devices = ET.SubElement(domain, "devices")
    for disk in plan.disks:
        _disk(devices, disk, reconnects=reconnects)
    for interface in plan.interfaces:
        _interface(devices, interface)
    _console(devices, plan.console_log)
    _rest(devices)
    return ET.tostring(domain, encoding="unicode")


def _system(domain: ET.Element, plan: DomainPlan) -> None:
    info = ET.SubElement(domain, "sysinfo", type="smbios")
    system = ET.SubElement(info, "system")
    entries = {
        "manufacturer": "OpenStack Foundation",
        "product": "OpenStack Nova",
        "version": plan.version,
        "serial": plan.server_id,
        "uuid": plan.server_id,
        "family": "Virtual Machine",
    }
    for name, value in entries.items():
        _add(system, "entry", value, name=name)
    os_element = ET.SubElement(domain, "os")
    _add(os_element, "type", "hvm", arch=plan.arch, machine=plan.machine)
    ET.SubElement(os_element, "smbios", mode="sysinfo")
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    if plan.virt_type == "kvm":
        ET.SubElement(domain, "cpu", mode="host-model")
    else:
        tcg = ET.SubElement(features, "tcg")
        _add(tcg, "tb-cache", str(plan.tcg_cache_mib), unit="MiB")
        cpu = ET.SubElement(domain, "cpu", mode="custom", match="exact", check="none")
        _add(cpu, "model", plan.cpu_model, fallback="allow")
    clock = ET.SubElement(domain, "clock", offset="utc")
    ET.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
    ET.SubElement(clock, "timer", name="pit", tickpolicy="delay")
    ET.SubElement(clock, "timer", name="hpet", present="no")


def disk_xml(plan: DiskPlan, *, reconnects: bool = True) -> str:
    """Return the XML of one disk, to be plugged into a running guest."""
    disk = _disk(ET.Element("devices"), plan, reconnects=reconnects)
    return ET.tostring(disk, encoding="unicode")


def _disk(devices: ET.Element, plan: DiskPlan, *, reconnects: bool) -> ET.Element:
    kind = "network" if plan.export else "file"
    disk = ET.SubElement(devices, "disk", type=kind, device=plan.device)
    driver = ET.SubElement(disk, "driver", name="qemu", type=plan.format, cache="writeback")
    if plan.device == "disk":
        driver.set("discard", "unmap")
    if plan.export:
        _volume(disk, driver, plan, reconnects=reconnects)
    else:
        ET.SubElement(disk, "source", file=plan.path)
    ET.SubElement(disk, "target", dev=plan.target, bus=plan.bus)
    if plan.shared:
        ET.SubElement(disk, "shareable")
    if plan.read_only or plan.device == "cdrom":
        ET.SubElement(disk, "readonly")
    if plan.serial:
        _add(disk, "serial", plan.serial)
    if plan.boot_order:
        ET.SubElement(disk, "boot", order=str(plan.boot_order))
    return disk


def _volume(disk: ET.Element, driver: ET.Element, plan: DiskPlan, *, reconnects: bool) -> None:
    """Fill in what a volume's disk has: writes wait while its server is replaced.

    Where they cannot wait in QEMU (an older libvirt), the error stops the guest, and it is let go on at once.
    """
    driver.set("cache", "none")
    driver.set("error_policy", "stop")
    driver.set("rerror_policy", "stop")
    source = ET.SubElement(disk, "source", protocol="nbd", name=plan.export)
    ET.SubElement(source, "host", transport="unix", socket=plan.path)
    if reconnects:
        ET.SubElement(source, "reconnect", delay=str(_RECONNECT_S))


def interface_xml(plan: InterfacePlan) -> str:
    """Return the XML of one interface, to be plugged into a running guest."""
    return ET.tostring(_interface(ET.Element("devices"), plan), encoding="unicode")


def _interface(devices: ET.Element, plan: InterfacePlan) -> ET.Element:
    interface = ET.SubElement(devices, "interface", type="ethernet")
    ET.SubElement(interface, "mac", address=plan.mac)
    ET.SubElement(interface, "target", dev=plan.tap, managed="no")
    ET.SubElement(interface, "model", type=plan.model)
    if plan.mtu_bytes:
        ET.SubElement(interface, "mtu", size=str(plan.mtu_bytes))
    # An option ROM only costs boot time: nothing boots from the network.
    ET.SubElement(interface, "rom", enabled="no")
    return interface


def _console(devices: ET.Element, log: str) -> None:
    serial = ET.SubElement(devices, "serial", type="pty")
    if log:
        ET.SubElement(serial, "log", file=log, append="on")
    ET.SubElement(serial, "target", port="0")


def _rest(devices: ET.Element) -> None:
    rng = ET.SubElement(devices, "rng", model="virtio")
    _add(rng, "backend", "/dev/urandom", model="random")
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "memballoon", model="virtio", freePageReporting="on")
    video = ET.SubElement(devices, "video")
    ET.SubElement(video, "model", type="none")


def _add(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element
