"""What a running guest has used since it was started: as the hypervisor counts it, and as Nova's API shows it."""

from collections.abc import Mapping
from typing import Any

from node.sdk import Frozen


class NicUsage(Frozen):
    """One interface."""

    tap: str
    mac: str = ""
    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_drops: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_drops: int = 0


class DiskUsage(Frozen):
    """One disk."""

    device: str
    read_bytes: int = 0
    read_requests: int = 0
    write_bytes: int = 0
    write_requests: int = 0
    errors: int | None = None
    """None where nobody counts them."""


class GuestUsage(Frozen):
    """A guest."""

    cpu_times_ns: tuple[int, ...] = ()
    memory_maximum_kib: int = 0
    memory_used_kib: int = 0
    disks: tuple[DiskUsage, ...] = ()
    nics: tuple[NicUsage, ...] = ()


def of_stats(stats: Mapping[str, Any], macs: Mapping[str, str]) -> GuestUsage:
    """Return what libvirt's bulk statistics say; `macs` are those of the taps.

    Source: virConnectGetAllDomainStats
    """

    def number(key: str) -> int:
        return int(stats.get(key) or 0)

    def nic(at: str) -> NicUsage:
        tap = str(stats.get(f"{at}.name", ""))
        return NicUsage(
            tap=tap,
            mac=macs.get(tap, ""),
            rx_bytes=number(f"{at}.rx.bytes"),
            rx_packets=number(f"{at}.rx.pkts"),
            rx_errors=number(f"{at}.rx.errs"),
            rx_drops=number(f"{at}.rx.drop"),
            tx_bytes=number(f"{at}.tx.bytes"),
            tx_packets=number(f"{at}.tx.pkts"),
            tx_errors=number(f"{at}.tx.errs"),
            tx_drops=number(f"{at}.tx.drop"),
        )

    def disk(at: str) -> DiskUsage:
        return DiskUsage(
            device=str(stats.get(f"{at}.name", "")),
            read_bytes=number(f"{at}.rd.bytes"),
            read_requests=number(f"{at}.rd.reqs"),
            write_bytes=number(f"{at}.wr.bytes"),
            write_requests=number(f"{at}.wr.reqs"),
        )

    return GuestUsage(
        cpu_times_ns=tuple(number(f"vcpu.{n}.time") for n in range(number("vcpu.current"))),
        memory_maximum_kib=number("balloon.maximum"),
        memory_used_kib=number("balloon.current"),
        disks=tuple(disk(f"block.{n}") for n in range(number("block.count"))),
        nics=tuple(nic(f"net.{n}") for n in range(number("net.count"))),
    )


def plain_view(usage: GuestUsage) -> dict[str, int | None]:
    """Return the form below 2.48: a flat list of the driver's own names."""
    body: dict[str, int | None] = {
        f"cpu{number}_time": time_ns for number, time_ns in enumerate(usage.cpu_times_ns)
    }
    body |= {"memory": usage.memory_maximum_kib, "memory-actual": usage.memory_used_kib}
    for disk in usage.disks:
        body |= {
            f"{disk.device}_read": disk.read_bytes,
            f"{disk.device}_read_req": disk.read_requests,
            f"{disk.device}_write": disk.write_bytes,
            f"{disk.device}_write_req": disk.write_requests,
            f"{disk.device}_errors": -1 if disk.errors is None else disk.errors,
        }
    for nic in usage.nics:
        for way in ("rx", "tx"):
            body |= {
                f"{nic.tap}_{way}": getattr(nic, f"{way}_bytes"),
                f"{nic.tap}_{way}_packets": getattr(nic, f"{way}_packets"),
                f"{nic.tap}_{way}_errors": getattr(nic, f"{way}_errors"),
                f"{nic.tap}_{way}_drop": getattr(nic, f"{way}_drops"),
            }
    return body


def view(usage: GuestUsage) -> dict[str, Any]:
    """Return the part of the form from 2.48 on that the hypervisor knows."""
    return {
        "num_cpus": len(usage.cpu_times_ns),
        "num_disks": len(usage.disks),
        "num_nics": len(usage.nics),
        "memory_details": {
            "maximum": usage.memory_maximum_kib // 1024,
            "used": usage.memory_used_kib // 1024,
        },
        "cpu_details": [
            {"id": number, "time": time_ns, "utilisation": None}
            for number, time_ns in enumerate(usage.cpu_times_ns)
        ],
        "disk_details": [
            {
                "read_bytes": disk.read_bytes,
                "read_requests": disk.read_requests,
                "write_bytes": disk.write_bytes,
                "write_requests": disk.write_requests,
                "errors_count": disk.errors,
            }
            for disk in usage.disks
        ],
        "nic_details": [
            {
                "mac_address": nic.mac or None,
                "rx_octets": nic.rx_bytes,
                "rx_errors": nic.rx_errors,
                "rx_drop": nic.rx_drops,
                "rx_packets": nic.rx_packets,
                "rx_rate": None,
                "tx_octets": nic.tx_bytes,
                "tx_errors": nic.tx_errors,
                "tx_drop": nic.tx_drops,
                "tx_packets": nic.tx_packets,
                "tx_rate": None,
            }
            for nic in usage.nics
        ],
    }
