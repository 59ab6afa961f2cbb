"""Which features all members have: what a newer version stores differently waits until nobody needs the old way.

Each version has a level. A node writes its own into its row; the leader raises the cluster's to the least of all
members, those that are away included, in one transaction with their rows as it read them. It never goes down: whoever
has a lower one then does not join, and does not start. A member of an older version that is away so holds up new
features, and nothing else; it ends that by coming back with a newer version, or by being removed.
"""

from collections.abc import Iterable

from node.cluster.tables import CLUSTER, ClusterRow
from node.control.placement import NodeRow
from node.errors import Incompatible
from node.state.reader import Reader
from node.state.txn import AnyOp, check, patch

FEATURE_LEVEL = 2
"""Of this version. Raise it together with the first row type or rule that says `since_level` of the new number.

1: until 2026-11. 2: witnesses.
"""

WITNESSES = 2
"""From which level on witnesses are let in."""


def level_of(db: Reader) -> int:
    """Return the level that all members have agreed to have."""
    row = db.get(ClusterRow, CLUSTER)
    return row.feature_level if row is not None else FEATURE_LEVEL


def check_level(db: Reader) -> None:
    """Refuse to take part with code that is older than what the members agreed on.

    Raises:
        Incompatible: names both levels.
    """
    row = db.get(ClusterRow, CLUSTER)
    if row is not None and row.feature_level > FEATURE_LEVEL:
        raise Incompatible(
            f"The cluster uses features of level {row.feature_level}, this version has level {FEATURE_LEVEL}: "
            "install the newer version again"
        )


def raise_ops(row: ClusterRow | None, nodes: Iterable[NodeRow], now_us: int) -> list[AnyOp]:
    """Return the operations that raise the cluster's level to what all have; none when it stays."""
    some = list(nodes)
    if row is None or not some:
        return []
    level = min(node.feature_level for node in some)
    if level <= row.feature_level:
        return []
    held = [check(node) for node in some]
    return [check(row), *held, patch(ClusterRow, row.id, feature_level=level, updated_at=now_us)]


def held_up(row: ClusterRow | None, nodes: Iterable[NodeRow]) -> str:
    """Return who keeps the cluster from features that others have, in words; empty when nobody does."""
    some = list(nodes)
    most = max((node.feature_level for node in some), default=0)
    if row is None or most <= row.feature_level:
        return ""
    behind = sorted(
        f"{node.name} (away)" if node.state == "down" else node.name
        for node in some
        if node.feature_level < most
    )
    if not behind:
        return ""
    return f"new features wait for {', '.join(behind)}: install the newer version there, or remove it"
