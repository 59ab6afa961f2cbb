"""What the administrator's socket answers about tokens and nodes. Nothing here ever shows a key that is stored."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from node.clock import Clock
from node.cluster.admission import REQUEST_COUNTER, Propose
from node.cluster.tables import JoinRequest, JoinToken, WitnessRow
from node.cluster.token import Token
from node.cluster.token_rules import create, find, revoke, rotate, view
from node.control.placement import NodeRow
from node.errors import Conflict, NotFound
from node.ids import Ids
from node.state.reader import Reader
from node.state.txn import AnyOp, Applied, Count, check, delete, patch

_SHORTEST = 8
"""Digits of a fingerprint that may name a node."""


class ClusterCommands:
    """The commands of one node. They run in the thread of the administrator's socket."""

    def __init__(
        self, *, db: Callable[[], Reader], propose: Propose, clock: Clock, ids: Ids
    ) -> None:
        self._db = db
        self._propose = propose
        self._clock = clock
        self._ids = ids

    def commands(self) -> Mapping[str, Callable[..., object]]:
        """Return them by name."""
        return {
            "token_create": self._token_create,
            "token_list": self._token_list,
            "token_revoke": self._token_revoke,
            "token_rotate": self._token_rotate,
            "node_list": self._node_list,
            "node_show": self._node_show,
            "node_approve": self._node_approve,
            "node_refuse": self._node_refuse,
        }

    # -- tokens

    def _token_create(self, valid_days: float = 7.0, note: str = "") -> object:
        now = self._clock.now_us()
        ops, token = create(self._db(), now, self._ids, valid_days=valid_days, note=note[:255])
        self._commit(ops)
        return self._made(token)

    def _token_rotate(self, id: str, grace_days: float = 1.0) -> object:
        now = self._clock.now_us()
        ops, token = rotate(self._db(), now, self._ids, id, grace_days=grace_days)
        self._commit(ops)
        return self._made(token)

    def _token_revoke(self, id: str) -> object:
        self._commit(revoke(self._db(), self._clock.now_us(), id))
        return view(find(self._db(), id), self._clock.now_us())

    def _token_list(self) -> object:
        now = self._clock.now_us()
        return [view(row, now) for row in self._db().rows(JoinToken)]

    def _made(self, token: Token) -> dict[str, Any]:
        """Return the token itself: the only answer that ever holds it."""
        row = find(self._db(), token.token_id)
        shown: dict[str, Any] = msgspec.to_builtins(view(row, self._clock.now_us()))
        return {**shown, "token": token.text}

    # -- nodes

    def _node_list(self) -> list[dict[str, Any]]:
        db = self._db()
        found = [_member(row) for row in db.rows(NodeRow)]
        found += [_witness(row) for row in db.rows(WitnessRow)]
        return [*found, *(_waiting(row) for row in db.rows(JoinRequest))]

    def _node_show(self, node: str) -> object:
        db = self._db()
        rows = [
            row for row in db.rows(NodeRow) if _is_named(row.name, row.fingerprint, row.id, node)
        ]
        if len(rows) > 1:
            raise Conflict(f"{len(rows)} nodes are called {node}: give the id or the fingerprint")
        if rows:
            return {**msgspec.to_builtins(rows[0]), "standing": "member"}
        for witness in db.rows(WitnessRow):
            if _is_named(witness.name, witness.fingerprint, witness.id, node):
                return {**msgspec.to_builtins(witness), "standing": "witness"}
        return _waiting(self._request(node))

    def _node_approve(self, node: str) -> object:
        row = self._request(node)
        if not row.is_approved:
            now = self._clock.now_us()
            self._commit([check(row), patch(JoinRequest, row.id, is_approved=True, updated_at=now)])
        return _waiting(self._request(row.id))

    def _node_refuse(self, node: str) -> object:
        row = self._request(node)
        self._commit([delete(JoinRequest, row.id, must_exist=True), Count(REQUEST_COUNTER, -1)])
        return {**_waiting(row), "standing": "refused"}

    def _request(self, text: str) -> JoinRequest:
        rows = [
            row
            for row in self._db().rows(JoinRequest)
            if _is_named(row.name, row.id, row.node_id, text)
        ]
        if not rows:
            raise NotFound(
                f"No node {text} waits for approval: `hedgerow node list` shows who does"
            )
        if len(rows) > 1:
            fingerprints = ", ".join(row.id for row in rows)
            raise Conflict(
                f"{len(rows)} nodes are called {text}: give a fingerprint ({fingerprints})"
            )
        return rows[0]

    def _commit(self, ops: list[AnyOp]) -> None:
        if ops and not isinstance(self._propose(*ops), Applied):
            raise Conflict("Someone else changed it at the same time: look, and ask again")


def _member(row: NodeRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "standing": "leaving" if row.want == "absent" else "member",
        "state": "maintenance" if row.state == "up" and row.maintenance else row.state,
        "role": row.role,
        "address": row.address,
        "version": row.facts.get("version", ""),
        "id": row.id,
        "fingerprint": row.fingerprint,
    }


def _witness(row: WitnessRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "standing": "leaving" if row.want == "absent" else "witness",
        "state": row.state,
        "role": row.role,
        "address": row.address,
        "version": row.version,
        "id": row.id,
        "fingerprint": row.fingerprint,
    }


def _waiting(row: JoinRequest) -> dict[str, Any]:
    return {
        "name": row.name,
        "standing": "approved" if row.is_approved else "pending",
        "state": "",
        "role": "",
        "address": row.address,
        "version": row.version,
        "id": row.node_id,
        "fingerprint": row.id,
    }


def _is_named(name: str, fingerprint: str, id: str, text: str) -> bool:
    beginning = len(text) >= _SHORTEST and fingerprint.startswith(text.lower())
    return text in (name, id) or beginning
