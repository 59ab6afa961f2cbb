"""The storage policies that a new cluster begins with."""

from collections.abc import Sequence

from node.plugins.object.tables import StoragePolicy
from node.sdk import AnyOp, insert

_SEEDS = (
    ("0", "replicated-3", "replicated", 3, 0),
    ("1", "ec-2-1", "ec", 2, 1),
    ("2", "ec-4-2", "ec", 4, 2),
)


def store_seeds(now_us: int) -> Sequence[AnyOp]:
    """Return the policies; each is as redundant as the disks that there are allow."""
    return [
        insert(
            StoragePolicy(
                id=number, name=name, kind=kind, data=data, parity=parity, is_default=number == "0",
                created_at=now_us,
            )
        )
        for number, name, kind, data, parity in _SEEDS
    ]  # fmt: skip
