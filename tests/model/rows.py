"""Random transactions, and a store made of dicts that says what each of them must do."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from hypothesis import strategies as st

from node.state.document import is_sound
from node.state.row import Resource, Table
from node.state.txn import (
    AnyOp,
    Check,
    Count,
    Define,
    Delete,
    Insert,
    Patch,
    Put,
    Refused,
    Txn,
    decode_outcome,
    encode_entry,
    encode_txn,
)


class Thing(Resource):
    __table__ = Table(name="things", indexes=(("colour",),), unique=(("name", "owner"),))

    name: str | None = None
    owner: str = ""
    colour: str = ""


class Note(Resource):
    __table__ = Table(name="notes")

    text: str = ""


TABLES = {"things": Thing.__table__, "notes": Note.__table__}
IDS = ("a", "b", "c", "ü/\x00'\"")
COUNTERS = ("quota:p:things", "quota:q:things")
UNSOUND = (
    "",
    "[]",
    "x",
    "{bad",
    "{a:1}",
    '{"name":NaN}',
    '{"name":"a"}x',
    '{"name":"admin\\u0000x"}',
    '{"name":' + "[" * 200 + "]" * 200 + "}",
    '{"name":' + "[" * 9000 + "]" * 9000 + "}",
)


class Model:
    """What the store should hold after the same transactions."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, tuple[int, dict[str, Any]]]] = {}
        self.counters: dict[str, int] = {}
        self.answers: dict[str, Any] = {}
        self.seq = 0

    def apply(self, txn: Txn) -> Any:
        """Return the revision, or (number, reasons) of the operation that does not hold."""
        self.seq += 1
        if txn.request_id in self.answers:
            return self.answers[txn.request_id]
        before = copy.deepcopy((self.tables, self.counters))
        answer: Any = self.seq
        for number, op in enumerate(txn.ops):
            reasons = self._step(op)
            if reasons:
                self.tables, self.counters = before
                answer = (number, reasons)
                break
        self.answers[txn.request_id] = answer
        return answer

    def _step(self, op: AnyOp) -> set[str]:
        match op:
            case Define(table=table):
                if TABLES.get(table.name) != table:
                    return {"incompatible", "malformed"}
                self.tables.setdefault(table.name, {})
                return set()
            case Count():
                return self._count(op)
        rows = self.tables.get(op.table)
        if rows is None:
            return {"malformed"}
        match op:
            case Check(id=id, rev=rev):
                return set() if rows.get(id, (0,))[0] == rev else {"rev"}
            case Delete(id=id, must_exist=must):
                return {"missing"} if rows.pop(id, None) is None and must else set()
            case Patch():
                return self._patch(op, rows)
        if not is_sound(op.doc):
            return {"malformed"}
        if isinstance(op, Insert) and op.id in rows:
            clash = self._clash(op.table, op.id, msgspec.json.decode(op.doc))
            return {"exists", *clash}
        return self._store(op.table, op.id, msgspec.json.decode(op.doc))

    def _patch(self, op: Patch, rows: dict[str, tuple[int, dict[str, Any]]]) -> set[str]:
        if op.id not in rows:
            return {"missing"}
        if not is_sound(op.fields):
            return {"malformed"}
        fields = msgspec.json.decode(op.fields)
        if {"id", "rev"} & set(fields):
            return {"malformed"}
        return self._store(op.table, op.id, {**rows[op.id][1], **fields})

    def _store(self, table: str, id: str, doc: dict[str, Any]) -> set[str]:
        clash = self._clash(table, id, doc)
        if not clash:
            self.tables[table][id] = (self.seq, doc)
        return clash

    def _clash(self, table: str, id: str, doc: dict[str, Any]) -> set[str]:
        for group in TABLES[table].unique:
            wanted = [doc.get(field) for field in group]
            for other, (_rev, held) in self.tables[table].items():
                if other != id and None not in wanted and wanted == [held.get(f) for f in group]:
                    return {"unique"}
        return set()

    def _count(self, op: Count) -> set[str]:
        after = max(0, self.counters.get(op.counter, 0) + op.delta)
        if op.delta > 0 and op.limit is not None and 0 <= op.limit < after:
            return {"limit"}
        if after >= 1 << 63:
            return {"malformed"}
        self.counters[op.counter] = after
        return set()


def _docs() -> st.SearchStrategy[str]:
    fields = {
        "name": st.one_of(st.none(), st.sampled_from(("n", "m", "é"))),
        "owner": st.sampled_from(("", "o")),
        "colour": st.one_of(st.booleans(), st.integers(0, 3), st.text(max_size=3)),
    }
    whole = st.fixed_dictionaries({}, optional=fields).map(msgspec.json.encode)
    return st.one_of(whole.map(bytes.decode), whole.map(bytes.decode), st.sampled_from(UNSOUND))


def ops() -> st.SearchStrategy[AnyOp]:
    """Return a strategy of single operations, broken ones among them."""
    table = st.sampled_from(("things", "things", "things", "notes", "nowhere", "meta", 'x"; --'))
    ident = st.sampled_from(IDS)
    wrong_patch = st.just('{"rev":7}')
    odd = st.sampled_from(
        (
            Table(name="meta"),
            Table(name="sqlite_x"),
            Table(name="t", indexes=((),)),
            Table(name="t", indexes=(("Bad",),)),
            Table(name="things__colour"),
        )
    )
    return st.one_of(
        st.builds(Insert, table, ident, _docs()),
        st.builds(Put, table, ident, _docs()),
        st.builds(Patch, table, ident, st.one_of(_docs(), wrong_patch)),
        st.builds(Delete, table, ident, st.booleans()),
        st.builds(Check, table, ident, st.integers(0, 12)),
        st.builds(
            Count,
            st.sampled_from(COUNTERS),
            st.one_of(st.integers(-3, 3), st.sampled_from((1 << 62, (1 << 63) - 1, -(1 << 63)))),
            st.one_of(st.none(), st.integers(-1, 4)),
        ),
        st.builds(Define, odd),
    )


def txns() -> st.SearchStrategy[Txn]:
    """Return a strategy of transactions; request ids come again."""
    fresh = st.uuids(version=4).map(str)
    return st.builds(
        Txn,
        request_id=st.one_of(st.sampled_from(("r1", "r2")), fresh, fresh),
        ops=st.lists(ops(), min_size=1, max_size=4).map(tuple),
        frees=st.booleans(),
    )


DEFINED = Txn(request_id="tables", ops=tuple(Define(table) for table in TABLES.values()))
NOT_A_TXN = (b"", b"\xc1", b"\xa1\xff", b"\x80", encode_txn(DEFINED)[:-3])


def logs() -> st.SearchStrategy[list[bytes]]:
    """Return a strategy of logs: entries of several transactions, some of them no transactions at all."""
    item = st.one_of(txns().map(encode_txn), txns().map(encode_txn), st.sampled_from(NOT_A_TXN))
    entries = st.lists(st.lists(item, max_size=5), min_size=1, max_size=8)
    return entries.map(lambda some: [encode_entry(e) for e in ([encode_txn(DEFINED)], *some)])


def verdict(answer: bytes) -> Any:
    """Return an encoded outcome as the model words it."""
    outcome = decode_outcome(answer)
    if isinstance(outcome, Refused):
        return (outcome.op, outcome.reason)
    return outcome.seq


@contextmanager
def directory() -> Iterator[Path]:
    """Make a directory in memory: these tests open thousands of stores, and none of them is about disks."""
    shared = Path("/dev/shm")
    with TemporaryDirectory(dir=shared if shared.is_dir() else None) as made:
        yield Path(made)
