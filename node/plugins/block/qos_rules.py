"""What a QoS spec means for a driver.

Source: https://docs.openstack.org/cinder/latest/admin/basic-volume-qos.html
"""

from collections.abc import Mapping

from node.plugins.block.drivers.driver import QosLimits
from node.plugins.block.tables import QosSpec, VolumeType
from node.sdk import Reader

_NAMES = {
    "total_iops_sec": "total_iops",
    "read_iops_sec": "read_iops",
    "write_iops_sec": "write_iops",
    "total_bytes_sec": "total_bytes",
    "read_bytes_sec": "read_bytes",
    "write_bytes_sec": "write_bytes",
}


def limits_of(db: Reader, type_id: str, size_gib: int) -> QosLimits | None:
    """Return the limits of a volume of a type; None: the type has no QoS spec."""
    kind = db.get(VolumeType, type_id) if type_id else None
    spec = db.get(QosSpec, kind.qos_id) if kind is not None and kind.qos_id else None
    return None if spec is None else limits(spec.specs, size_gib)


def limits(specs: Mapping[str, str], size_gib: int) -> QosLimits:
    """Return the limits that specs name, those by GiB for a size; what is no number is ignored."""
    found: dict[str, int] = {}
    for name, field in _NAMES.items():
        if value := _number(specs.get(name, "")):
            found[field] = value
        elif each := _number(specs.get(f"{name}_per_gb", "")):
            least = _number(specs.get(f"{name}_per_gb_min", ""))
            found[field] = max(each * size_gib, least)
    return QosLimits(**found)


def _number(text: str) -> int:
    return int(text[:15]) if text.isascii() and text.isdigit() else 0
