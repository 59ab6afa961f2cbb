"""Rotation of the keys that make tokens, and pruning of what has outlived its use.

Three generations: the staged key (number 0) is known to every node before it makes a token, the primary (the
highest number) makes them, and older ones check tokens until the last of theirs has expired. Every node looks;
the check on the primary's revision lets only one of them rotate.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from node.plugins.identity.section import IdentitySection
from node.plugins.identity.tables import FernetKey, Revocation, Trust
from node.plugins.identity.token_codec import new_key
from node.plugins.identity.token_store import ALLOW_EXPIRED_WINDOW_US
from node.sdk import AnyOp, Done, Reader, Reconciler, Row, check, delete, insert, patch

_KEYS = "fernet-keys"
_PRUNE = "prune"
_LOOK_S = 300.0
_MAX_PRUNED = 500


class IdentityUpkeep(Reconciler):
    """Rotates keys and prunes revocations and trusts that have ended."""

    name = "identity-upkeep"
    watches: tuple[type[Row], ...] = ()  # type: ignore[misc]
    resync_s = _LOOK_S
    workers = 1

    def keys(self) -> Iterable[str]:
        """Return the two chores."""
        return (_KEYS, _PRUNE)

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return nothing: both chores go by the clock."""
        del row_type, id
        return ()

    def reconcile(self, key: str) -> Done:
        """Do one chore."""
        now_us = self.control.clock.now_us()
        section = self.control.config.section(IdentitySection)
        if key == _PRUNE:
            return Done(ops=prune_ops(self.control.db, now_us), again_s=_LOOK_S, frees=True)
        keys = self.control.db.rows(FernetKey, order_by=(("number", "asc"),))
        age_us = section.key_rotation_s * 1_000_000
        due = bool(keys) and age_us > 0 and keys[-1].updated_at + age_us <= now_us
        ops = rotation_ops(keys, now_us, section.token_ttl_s) if due else ()
        return Done(ops=ops, again_s=_LOOK_S)


def rotation_ops(keys: Sequence[FernetKey], now_us: int, token_ttl_s: int) -> list[AnyOp]:
    """Return the operations that make the staged key the primary and stage a new one.

    An old key goes once the last token that it made can no longer be looked at.
    """
    times: dict[str, Any] = {"created_at": now_us, "updated_at": now_us}
    staged, primary = keys[0], keys[-1]
    number = primary.number + 1
    useless_us = now_us - token_ttl_s * 1_000_000 - ALLOW_EXPIRED_WINDOW_US
    old = [key for key in keys[1:-1] if key.updated_at <= useless_us]
    return [
        check(staged),
        check(primary),
        insert(FernetKey(id=str(number), number=number, key=staged.key, **times)),
        patch(FernetKey, staged.id, key=new_key(), updated_at=now_us),
        patch(FernetKey, primary.id, updated_at=now_us),
        *(delete(FernetKey, key.id) for key in old),
    ]


def renewal_ops(keys: Sequence[FernetKey], now_us: int) -> list[AnyOp]:
    """Return the operations that replace all keys: no token made so far can be read any more."""
    staged, primary = keys[0], keys[-1]
    return [
        *(check(key) for key in keys),
        patch(FernetKey, staged.id, key=new_key(), updated_at=now_us),
        patch(FernetKey, primary.id, key=new_key(), updated_at=now_us),
        *(delete(FernetKey, key.id) for key in keys[1:-1]),
    ]


def prune_ops(db: Reader, now_us: int) -> list[AnyOp]:
    """Return the operations that delete what has ended: revocations of dead tokens, trusts."""
    dead_us = now_us - ALLOW_EXPIRED_WINDOW_US
    revoked = db.rows(Revocation, where=[("expires_at", "<", dead_us)], limit=_MAX_PRUNED)
    ended = db.rows(
        Trust, where=[("expires_at", "<", now_us), ("expires_at", ">", 0)], limit=_MAX_PRUNED
    )
    return [
        *(delete(Revocation, row.id) for row in revoked),
        *(delete(Trust, row.id) for row in ended),
    ]
