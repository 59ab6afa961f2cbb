"""Which extra specs Nova knows, and what it takes for them: checked from microversion 2.86 on.

A name in one of these name spaces must be known; other name spaces are free.

Source: https://docs.openstack.org/nova/latest/configuration/extra-specs.html
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from node.sdk import BadRequest

_BOOL = r"(?i)true|false|1|0|yes|no|y|n|on|off|t|f|strict"
_NUMBER = r"[0-9]+"
_POSITIVE = r"[1-9][0-9]*"
_TEXT = r"(?s).+"
_CPU_SET = r"[\^0-9,\-]+"


def _one(*words: str) -> str:
    return "|".join(re.escape(word) for word in words)


_KNOWN: Mapping[str, str] = MappingProxyType(
    {
        "accel:device_profile": _TEXT,
        r"aggregate_instance_extra_specs:.+": _TEXT,
        r"capabilities(:.+)?": _TEXT,
        "hw:boot_menu": _BOOL,
        "hw:cpu_cores": _POSITIVE,
        "hw:cpu_dedicated_mask": _CPU_SET,
        "hw:cpu_max_cores": _POSITIVE,
        "hw:cpu_max_sockets": _POSITIVE,
        "hw:cpu_max_threads": _POSITIVE,
        "hw:cpu_policy": _one("dedicated", "shared", "mixed"),
        "hw:cpu_realtime": _BOOL,
        "hw:cpu_realtime_mask": _CPU_SET,
        "hw:cpu_sockets": _POSITIVE,
        "hw:cpu_thread_policy": _one("prefer", "isolate", "require"),
        "hw:cpu_threads": _POSITIVE,
        "hw:emulator_threads_policy": _one("isolate", "share"),
        "hw:hide_hypervisor_id": _BOOL,
        "hw:input_bus": _one("usb", "virtio"),
        "hw:locked_memory": _BOOL,
        "hw:maxphysaddr_bits": _POSITIVE,
        "hw:maxphysaddr_mode": _one("passthrough", "emulate"),
        "hw:mem_encryption": _BOOL,
        "hw:mem_page_size": r"(small|large|any|[1-9][0-9]*([kKmMgG]i?[bB]?)?)",
        r"hw:numa_cpus\.[0-9]+": _CPU_SET,
        r"hw:numa_mem\.[0-9]+": _POSITIVE,
        "hw:numa_nodes": _POSITIVE,
        "hw:pci_numa_affinity_policy": _one("required", "preferred", "legacy", "socket"),
        "hw:pmem": _TEXT,
        "hw:pmu": _BOOL,
        "hw:serial_port_count": _NUMBER,
        "hw:sound_model": _TEXT,
        "hw:tpm_model": _one("tpm-tis", "tpm-crb"),
        "hw:tpm_version": _one("1.2", "2.0"),
        "hw:usb_model": _TEXT,
        "hw:viommu_model": _one("intel", "smmuv3", "virtio", "auto"),
        "hw:vif_multiqueue_enabled": _BOOL,
        "hw:virtio_packed_ring": _BOOL,
        "hw:redirected_usb_ports": _NUMBER,
        "hw:watchdog_action": _one("none", "pause", "poweroff", "reset", "disabled"),
        "hw_rng:allowed": _BOOL,
        "hw_rng:rate_bytes": _NUMBER,
        "hw_rng:rate_period": _NUMBER,
        "hw_video:ram_max_mb": _NUMBER,
        "os:monitors": _POSITIVE,
        "os:secure_boot": _one("disabled", "required", "optional"),
        r"pci_passthrough:alias": _TEXT,
        r"quota:cpu_(period|quota|shares|limit|reservation|shares_level|shares_share)": r"-?[0-9]+|[a-z]+",
        r"quota:disk_(io_limit|io_reservation|io_shares_level|io_shares_share)": _TEXT,
        r"quota:disk_(read|write|total)_(bytes|iops)_sec(_max)?(_length)?": _NUMBER,
        r"quota:memory_(limit|reservation|shares_level|shares_share)": _TEXT,
        r"quota:vif_(inbound|outbound)_(average|burst|peak)": _NUMBER,
        r"quota:vif_(limit|reservation|shares_level|shares_share)": _TEXT,
        r"resources[A-Za-z0-9_-]{0,64}:[A-Z0-9_]+": _NUMBER,
        "group_policy": _one("isolate", "none"),
        r"trait[A-Za-z0-9_-]{0,64}:[A-Z0-9_]+": _one("required", "forbidden"),
    }
)
_SPACES = frozenset(
    {
        "accel", "aggregate_instance_extra_specs", "capabilities", "hw", "hw_rng", "hw_video", "os",
        "pci_passthrough", "quota",
    }
)  # fmt: skip
_GROUPED = re.compile(r"(resources|trait)[A-Za-z0-9_-]{0,64}")


def check(name: str, value: str) -> None:
    """Refuse a spec that Nova would not know what to do with.

    Raises:
        BadRequest: 400, in Nova's words.
    """
    for pattern, allowed in _KNOWN.items():
        if re.fullmatch(pattern, name):
            if not re.fullmatch(allowed, value):
                raise BadRequest(
                    f"Validation failed; '{value}' is not a valid value for extra spec '{name}'"
                    f" (it must match {allowed})"
                )
            return
    space, colon, _rest = name.partition(":")
    if colon and (space in _SPACES or _GROUPED.fullmatch(space)):
        raise BadRequest(
            f"Validation failed; extra spec '{name}' does not appear to be a valid extra spec."
        )
