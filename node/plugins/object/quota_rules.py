"""Quotas of accounts and containers, for Swift and S3.

An account's are set by administrators (`quota-bytes`, `quota-count` in `sys`), a container's by its owner (in `meta`).

Source: https://docs.openstack.org/swift/latest/middleware.html#account-quotas
"""

from node.plugins.object.store.contract import Usage
from node.plugins.object.store.open import store_of
from node.plugins.object.tables import Container, ObjectAccount
from node.sdk import Context, OverQuota

_TEXT = "Upload exceeds quota."


def room(ctx: Context, container: Container) -> int | None:
    """Return how many bytes may still be written to a container; None: any number.

    Raises:
        OverQuota: 413, there may be no more objects.
    """
    return room_for(ctx, container, 1)


def room_for(ctx: Context, container: Container, objects: int) -> int | None:
    """Return how many bytes may be written to a container as so many objects; None: any number.

    Raises:
        OverQuota: 413, there may be no more objects.
    """
    own_bytes, own_count = (
        _number(container.meta, "quota-bytes"),
        _number(container.meta, "quota-count"),
    )
    account = ctx.db.get(ObjectAccount, container.account)
    sys = account.sys if account else {}
    all_bytes, all_count = _number(sys, "quota-bytes"), _number(sys, "quota-count")
    policy_bytes = _number(sys, f"quota-bytes-policy-{container.policy.lower()}")
    policy_count = _number(sys, f"quota-count-policy-{container.policy.lower()}")
    rooms = []
    if own_bytes is not None or own_count is not None:
        used = _sum(ctx, [container])
        rooms.append(_left(used, own_bytes, own_count, objects))
    if all_bytes is not None or all_count is not None:
        used = _sum(ctx, ctx.db.rows(Container, account=container.account))
        rooms.append(_left(used, all_bytes, all_count, objects))
    if policy_bytes is not None or policy_count is not None:
        rows = ctx.db.rows(Container, account=container.account, policy=container.policy)
        rooms.append(_left(_sum(ctx, rows), policy_bytes, policy_count, objects))
    return min((room for room in rooms if room is not None), default=None)


def hold(ctx: Context, container: Container, size_bytes: int | None) -> int | None:
    """Refuse an object that is too large; return how large one of unknown size may be (None: any size).

    Raises:
        OverQuota: 413.
    """
    left = room(ctx, container)
    if left is not None and (size_bytes or 0) > left:
        raise OverQuota(_TEXT)
    return left


def _left(
    used: Usage, limit_bytes: int | None, limit_count: int | None, objects: int
) -> int | None:
    if limit_count is not None and used.objects + objects > limit_count:
        raise OverQuota(_TEXT)
    return None if limit_bytes is None else max(0, limit_bytes - used.size_bytes)


def _sum(ctx: Context, containers: list[Container]) -> Usage:
    usages = store_of(ctx).usage([container.id for container in containers]).values()
    return Usage(
        objects=sum(usage.objects for usage in usages),
        size_bytes=sum(usage.size_bytes for usage in usages),
    )


def _number(values: dict[str, str], name: str) -> int | None:
    text = values.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else None
