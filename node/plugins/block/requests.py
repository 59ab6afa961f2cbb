"""How requests of block storage change rows: one way for all handlers."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from node.plugins.block.faults import over_quota
from node.sdk import AnyOp, Context, OverQuota

P = TypeVar("P")


def transact(
    ctx: Context,
    plan: Callable[[], tuple[Sequence[AnyOp], P]],
    requested: Mapping[str, int] | None = None,
    *,
    frees: bool = False,
) -> P:
    """Plan and commit; `requested` are the amounts that a quota error names.

    Raises:
        TooLarge: 413, over quota.
    """
    try:
        return ctx.transact(plan, frees=frees)
    except OverQuota as error:
        raise over_quota(error, requested or {}) from error
