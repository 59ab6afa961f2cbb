"""How a host reaches a volume, in the form of Cinder's `connection_info`."""

from typing import Any

from node.plugins.block.tables import Volume
from node.sdk import Context


def connection_info(ctx: Context, volume: Volume, mode: str = "rw") -> dict[str, Any]:
    """Return where a volume is: only nodes of this cloud can follow it."""
    del ctx
    return {
        "driver_volume_type": "hedgerow",
        "data": {
            "volume_id": volume.id,
            "node": volume.node_id,
            "driver": volume.driver,
            "access_mode": "ro" if volume.read_only else mode,
            "encrypted": volume.encrypted,
            "qos_specs": None,
            "cacheable": False,
        },
    }
