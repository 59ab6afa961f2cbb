"""Transactions as pure data: what is proposed, agreed on and applied.

A Txn is a list of operations that hold all together or not at all. Checks are operations too. Documents
travel as JSON text, so that applying an insert copies bytes and decodes nothing.
"""

from typing import Any, TypeVar

import msgspec

from node.state.row import Row, Table

R = TypeVar("R", bound=Row)


class Op(msgspec.Struct, frozen=True, array_like=True):
    """One step of a transaction."""


class Check(Op, frozen=True, array_like=True, tag="check"):
    """The row has this revision; 0 means that it does not exist."""

    table: str
    id: str
    rev: int


class Insert(Op, frozen=True, array_like=True, tag="insert"):
    """Store a row that must not exist."""

    table: str
    id: str
    doc: str


class Put(Op, frozen=True, array_like=True, tag="put"):
    """Store a row, replacing what was there."""

    table: str
    id: str
    doc: str


class Patch(Op, frozen=True, array_like=True, tag="patch"):
    """Replace some fields of a row that must exist. `fields` is a JSON object."""

    table: str
    id: str
    fields: str


class Delete(Op, frozen=True, array_like=True, tag="delete"):
    """Remove a row; with `must_exist` a missing one is a conflict."""

    table: str
    id: str
    must_exist: bool = False


class Count(Op, frozen=True, array_like=True, tag="count"):
    """Add to a bounded counter: the result must not exceed `limit` (None or negative: no limit).

    A counter never goes below zero. A negative delta is never refused.
    """

    counter: str
    delta: int
    limit: int | None = None


class Define(Op, frozen=True, array_like=True, tag="define"):
    """Create a table or extend it to a newer declaration; an older one changes nothing."""

    table: Table


AnyOp = Check | Insert | Put | Patch | Delete | Count | Define


class Txn(msgspec.Struct, frozen=True, kw_only=True):
    """Operations that hold all together or not at all.

    `request_id` makes a repeat harmless: the same id gives the stored answer. `frees` marks a transaction
    that only gives space back, which is taken on a full disk too.
    """

    request_id: str
    ops: tuple[AnyOp, ...]
    frees: bool = False


class Applied(msgspec.Struct, frozen=True, kw_only=True, tag="applied"):
    """The transaction holds. `seq` is the revision of every row that it wrote."""

    seq: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """Operation number `op` did not hold, and nothing was changed.

    `reason` is rev, exists, missing, unique, limit, malformed or incompatible. For `unique`, `columns` says which;
    for `limit`, `value` is the counter's present value and `limit` its bound.
    """

    op: int
    reason: str
    table: str = ""
    id: str = ""
    columns: tuple[str, ...] = ()
    value: int = 0
    limit: int = 0


Outcome = Applied | Refused

_encoder = msgspec.msgpack.Encoder()
_txn_decoder = msgspec.msgpack.Decoder(Txn)
_outcome_decoder: msgspec.msgpack.Decoder[Outcome] = msgspec.msgpack.Decoder(Outcome)


def encode_txn(txn: Txn) -> bytes:
    """Encode for the log."""
    return _encoder.encode(txn)


def decode_txn(data: bytes) -> Txn:
    """Decode from the log.

    Raises:
        msgspec.DecodeError: the bytes are no transaction.
    """
    return _txn_decoder.decode(data)


def encode_outcome(outcome: Outcome) -> bytes:
    """Encode an answer."""
    return _encoder.encode(outcome)


def decode_outcome(data: bytes) -> Outcome:
    """Decode an answer."""
    return _outcome_decoder.decode(data)


def encode_entry(txns: list[bytes]) -> bytes:
    """Join encoded transactions to one log entry."""
    return _encoder.encode(txns)


def insert(row: Row) -> Insert:
    """Return the operation that stores a new row."""
    return Insert(row.__table__.name, row.id, document(row))


def put(row: Row) -> Put:
    """Return the operation that stores a row, replacing what was there."""
    return Put(row.__table__.name, row.id, document(row))


def check(row: Row) -> Check:
    """Return the operation that holds while the row is as it was read."""
    return Check(row.__table__.name, row.id, row.rev)


def patch(row_type: type[Row], id: str, **fields: Any) -> Patch:
    """Return the operation that replaces fields of a row.

    Raises:
        AttributeError: the row type has no such field.
    """
    unknown = set(fields) - set(row_type.__struct_fields__) | (set(fields) & {"id", "rev"})
    if unknown:
        raise AttributeError(
            f"{row_type.__name__} rows have no field to patch named {sorted(unknown)}"
        )
    return Patch(row_type.__table__.name, id, msgspec.json.encode(fields).decode())


def delete(row_type: type[Row], id: str, *, must_exist: bool = False) -> Delete:
    """Return the operation that removes a row."""
    return Delete(row_type.__table__.name, id, must_exist)


def document(row: Row) -> str:
    """Return the stored form of a row: its JSON object, without the revision."""
    return msgspec.json.encode(row).decode()
