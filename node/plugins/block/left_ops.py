"""Keeps the rows about what a driver has left as they are on the node."""

from node.plugins.block.drivers.driver import Driver
from node.plugins.block.manageable import left_id
from node.plugins.block.tables import LeftData
from node.sdk import AnyOp, Control, delete, insert

_GIB = 1 << 30


def left_ops(control: Control, driver: Driver) -> list[AnyOp]:
    """Return the operations that make the rows right; none where they are."""
    now = control.clock.now_us()
    known = {
        row.id: row
        for row in control.db.rows(LeftData, node_id=control.node_id, kind="volume")
        if row.driver == driver.name
    }
    ops: list[AnyOp] = []
    found = set()
    for reference, size_bytes in driver.manageable():
        left = left_id(control.node_id, "volume", reference)
        found.add(left)
        if left not in known:
            row = LeftData(
                id=left,
                created_at=now,
                node_id=control.node_id,
                reference=reference,
                size_gib=-(-size_bytes // _GIB),
                driver=driver.name,
            )
            ops.append(insert(row))
    ops += [delete(LeftData, left) for left in known if left not in found]
    return ops
