"""What may be done with the cluster's tokens: pure functions from rows to operations."""

from node.cluster.tables import CLUSTER, ClusterRow, JoinToken
from node.cluster.token import DAY_US, Token, make
from node.errors import BadRequest, Conflict, NotFound
from node.ids import Ids
from node.state.reader import Reader
from node.state.txn import AnyOp, check, delete, insert, patch
from node.types import Frozen

MAX_TOKENS = 64
KEPT_DAYS = 30
"""How long a token that ended is still listed."""


class TokenView(Frozen):
    """A token as it may be shown: without anything secret."""

    id: str
    founders: int
    created_at: int
    expires_at: int
    state: str
    """valid, expired or revoked."""
    joined: int
    note: str


def state_of(row: JoinToken, now_us: int) -> str:
    """Return valid, expired or revoked."""
    if row.is_revoked:
        return "revoked"
    return "expired" if row.expires_at and now_us >= row.expires_at else "valid"


def view(row: JoinToken, now_us: int) -> TokenView:
    """Return what may be shown."""
    return TokenView(
        id=row.id,
        founders=row.founders,
        created_at=row.created_at,
        expires_at=row.expires_at,
        state=state_of(row, now_us),
        joined=row.joined,
        note=row.note,
    )


def row_of(token: Token, now_us: int, note: str = "") -> JoinToken:
    """Return the row of a token."""
    return JoinToken(
        id=token.token_id,
        created_at=now_us,
        updated_at=now_us,
        key=token.key.hex(),
        founders=token.founders,
        expires_at=token.expires_at,
        note=note,
    )


def create(
    db: Reader, now_us: int, ids: Ids, *, valid_days: float, note: str
) -> tuple[list[AnyOp], Token]:
    """Return a new token of the cluster and what stores it. Zero days: it never expires.

    Raises:
        BadRequest: 400, the time is not one.
        Conflict: 409, there is no cluster yet, or there are too many tokens.
    """
    if not 0 <= valid_days <= 36_500:
        raise BadRequest("A token is valid for 0 (for ever) to 36500 days")
    cluster = db.get(ClusterRow, CLUSTER)
    if cluster is None:
        raise Conflict("This node is in no cluster yet: `hedgerow token new` makes its first token")
    rows = db.rows(JoinToken)
    ended = [row for row in rows if _is_forgotten(row, now_us)]
    if len(rows) - len(ended) >= MAX_TOKENS:
        raise Conflict(f"There are {len(rows)} tokens: revoke some, they go {KEPT_DAYS} days later")
    token = make(
        ids,
        expires_at=now_us + round(valid_days * DAY_US) if valid_days else 0,
        cluster_id=cluster.cluster_id,
    )
    ops: list[AnyOp] = [delete(JoinToken, row.id) for row in ended]
    return [*ops, insert(row_of(token, now_us, note))], token


def revoke(db: Reader, now_us: int, token_id: str) -> list[AnyOp]:
    """Return what ends a token at once.

    Raises:
        NotFound: 404, there is no such token.
    """
    row = find(db, token_id)
    if row.is_revoked:
        return []
    return [check(row), patch(JoinToken, row.id, is_revoked=True, updated_at=now_us)]


def rotate(
    db: Reader, now_us: int, ids: Ids, token_id: str, *, grace_days: float
) -> tuple[list[AnyOp], Token]:
    """Return a token that takes another one's place, and what stores it; the old one ends after the grace.

    Raises:
        NotFound: 404, there is no such token.
        BadRequest: 400, the time is not one.
        Conflict: 409, it has ended already, or there are too many tokens.
    """
    old = find(db, token_id)
    if state_of(old, now_us) != "valid":
        raise Conflict(f"The token {old.id} is {state_of(old, now_us)}: create a new one")
    if not 0 <= grace_days <= 365:
        raise BadRequest("The old token may stay valid for 0 to 365 days")
    # Each has as long as the old one was made for.
    valid_days = (old.expires_at - old.created_at) / DAY_US if old.expires_at else 0
    ops, token = create(db, now_us, ids, valid_days=max(valid_days, 0), note=old.note)
    if not grace_days:
        return [
            check(old),
            *ops,
            patch(JoinToken, old.id, is_revoked=True, updated_at=now_us),
        ], token
    ends_at = now_us + round(grace_days * DAY_US)
    ends_at = min(ends_at, old.expires_at) if old.expires_at else ends_at
    return [
        check(old),
        *ops,
        patch(JoinToken, old.id, expires_at=ends_at, updated_at=now_us),
    ], token


def find(db: Reader, token_id: str) -> JoinToken:
    """Return the token with that id, or with the only id that begins so.

    Raises:
        NotFound: 404, there is none.
        Conflict: 409, several ids begin so.
    """
    found = [row for row in db.rows(JoinToken) if token_id and row.id.startswith(token_id.lower())]
    if len(found) > 1:
        raise Conflict(f"{len(found)} tokens begin with {token_id}: give more of the id")
    if not found:
        raise NotFound(f"There is no token {token_id}: `hedgerow token list` shows them")
    return found[0]


def _is_forgotten(row: JoinToken, now_us: int) -> bool:
    if state_of(row, now_us) == "valid":
        return False
    ended_at = row.updated_at if row.is_revoked else row.expires_at
    return now_us - ended_at > KEPT_DAYS * DAY_US
