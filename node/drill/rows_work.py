"""Clients of the row store: appends, registers with compare-and-set, and reads, through each node's own socket.

An append inserts a row; the revisions of rows tell the order. A counter beside them tells of one applied twice.
A request that is not answered is sent again, with its request id, through any node.
"""

import contextlib
import hashlib
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from node.cluster.client import SOCKET_FILE, ProposalClient
from node.drill.errors import DrillFault
from node.drill.history import History, Outcome
from node.drill.site import Seat, Site
from node.errors import NodeError, Unavailable
from node.ids import Ids
from node.state.reader import STATE_FILE, Reader
from node.state.row import Row, Table
from node.state.txn import (
    Applied,
    Check,
    Count,
    Define,
    Refused,
    Txn,
    decode_outcome,
    encode_txn,
    insert,
    put,
)

_ANSWER_S = 2.5
_TRIES = 4
_LISTS, _REGISTERS = 4, 3
_NOT_THERE = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR})
"""Of a disk that is gone, or so full that not even what readers share can be made."""
_CHAPTER_S = 15.0
"""After that time new things are used: reads of a list stay short."""
_NOTE = "x" * 200


class DrillItem(Row, kw_only=True):
    """An element of a list."""

    __table__ = Table(name="drill_items", indexes=(("thing",),))

    thing: str
    note: str = ""


class DrillRegister(Row, kw_only=True):
    """A register; the id is its name."""

    __table__ = Table(name="drill_registers")

    version: int = 0
    value: str = ""


class DrillBallast(Row, kw_only=True):
    """Weight: a small store hides the worst faults."""

    __table__ = Table(name="drill_ballast")

    load: str = ""


class RowSeat:
    """One node's store and socket. Thread-safe."""

    def __init__(self, seat: Seat, ids: Ids, life: Callable[[str], int]) -> None:
        self.name = seat.name
        self.store = seat.state_dir / STATE_FILE
        self._client = ProposalClient(seat.state_dir / SOCKET_FILE)
        self._ids = ids
        self._life = life

    @property
    def label(self) -> str:
        """Return the node's name in the history: another one after each loss of power, which may set it back."""
        life = self._life(self.name)
        return f"{self.name}.{life}" if life else self.name

    def commit(
        self, *ops: object, request_id: str = "", timeout_s: float = _ANSWER_S
    ) -> Applied | Refused:
        """Propose a transaction through this node."""
        txn = Txn(request_id=request_id or self._ids.uuid(), ops=ops)  # type: ignore[arg-type]
        return decode_outcome(self._client.propose(encode_txn(txn), timeout_s))

    def catch_up(self, timeout_s: float = _ANSWER_S) -> None:
        """Wait until this node's store holds all that was acknowledged before this call."""
        self.commit(timeout_s=timeout_s)

    def elements(self, thing: str) -> tuple[str, ...]:
        """Return the elements of a list, in order, as this node has them."""
        with self._db() as db:
            rows = db.rows(DrillItem, thing=thing, order_by=(("rev", "asc"),))
        return tuple(row.id for row in rows)

    def register(self, name: str) -> DrillRegister:
        """Return a register as this node has it; `rev` 0: it does not exist yet."""
        with self._db() as db:
            return db.get(DrillRegister, name) or DrillRegister(id=name)

    @contextlib.contextmanager
    def _db(self) -> Iterator[Reader]:
        """Open the store for one read: a disk that is in use could not be taken away.

        Raises:
            Unavailable: 503, it is not there: the node has lost its power or its disk.
        """
        life = self._life(self.name)
        if life % 2:
            raise Unavailable(f"{self.name} has no power")
        try:
            with contextlib.closing(Reader(self.store)) as reader:
                yield reader
        except sqlite3.DatabaseError as error:
            if life != self._life(self.name) or error.sqlite_errorcode & 0xFF in _NOT_THERE:
                raise Unavailable(f"The disk of {self.name} is not there: {error}") from error
            raise


class RowClients:
    """Threads that each do one operation after the other, and note what they were told."""

    def __init__(self, site: Site, history: History, ids: Ids, count: int, seed: int) -> None:
        self._site = site
        self._ids = ids
        self.seats: list[RowSeat] = []
        self.reseat()
        self._history = history
        self.mark = ids.hex()[:8]
        """In the name of everything: a store may hold what an earlier drill wrote."""
        self._began_s = time.monotonic()
        self._ending = threading.Event()
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(
                target=self._work, args=(number, random.Random(f"{seed}/{number}")), daemon=True
            )
            for number in range(count)
        ]

    def reseat(self) -> None:
        """Go on with the nodes that there are now."""
        self.seats = [RowSeat(seat, self._ids, self._site.life) for seat in self._site.seats()]

    def prepare(self, timeout_s: float = 30.0) -> None:
        """Declare the tables."""
        for row_type in (DrillItem, DrillRegister, DrillBallast):
            self.seats[0].commit(Define(row_type.__table__), timeout_s=timeout_s)

    def load(self, ballast_mib: int, seed: int) -> None:
        """Fill the store with rows that do not compress."""
        chance = random.Random(seed)
        for number in range(ballast_mib * 8):
            row = DrillBallast(id=f"{seed}-{number}", load=chance.randbytes(64 * 1024).hex())
            self.seats[number % len(self.seats)].commit(put(row), timeout_s=30.0)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Let each client end its operation."""
        self._ending.set()
        for thread in self._threads:
            thread.join(_ANSWER_S * _TRIES + 10)
            if thread.is_alive():
                raise DrillFault(f"{thread.name} does not end")

    def _work(self, client: int, chance: random.Random) -> None:
        deeds: list[Callable[[int, random.Random, RowSeat], None]] = [
            self._append, self._append, self._append, self._write, self._write, self._read, self._read_register,
            self._look,
        ]  # fmt: skip
        while not self._ending.is_set():
            seat = chance.choice(self.seats)
            try:
                chance.choice(deeds)(client, chance, seat)
            except Unavailable:  # there was nothing to read
                self._ending.wait(0.05)
            except sqlite3.Error as error:  # a store that is being replaced: the read stays unknown
                self.errors.append(f"{seat.name}: {error}")
            except Exception as error:  # noqa: BLE001 - it is told at the end and fails the drill
                self.errors.append(f"client {client}: {type(error).__name__}: {error}")
                return

    def _thing(self, kind: str, chance: random.Random, count: int) -> str:
        chapter = int((time.monotonic() - self._began_s) / _CHAPTER_S)
        return f"{kind}/{self.mark}-{chapter}-{chance.randrange(count)}"

    def _append(self, client: int, chance: random.Random, seat: RowSeat) -> None:
        thing = self._thing("list", chance, _LISTS)
        value = f"{client}-{chance.randbytes(6).hex()}"
        ops = (insert(DrillItem(id=value, thing=thing, note=_NOTE)), Count(thing, 1))
        with self._history.operation(thing, "append", seat.label, client, value=value) as pending:
            outcome, _ = self._sent(chance, seat, value, *ops)
            pending.came_to(outcome)

    def _write(self, client: int, chance: random.Random, seat: RowSeat) -> None:
        thing = self._thing("register", chance, _REGISTERS)
        held = seat.register(thing)
        value = f"{client}-{chance.randbytes(6).hex()}"
        row = DrillRegister(id=thing, version=held.version + 1, value=value)
        ops = (Check(DrillRegister.__table__.name, thing, held.rev), put(row))
        with self._history.operation(
            thing, "write", seat.label, client, value=value, version=held.version
        ) as pending:
            outcome, _ = self._sent(chance, seat, value, *ops)
            pending.came_to(outcome)

    def _sent(
        self, chance: random.Random, seat: RowSeat, request_id: str, *ops: object
    ) -> tuple[Outcome, str]:
        """Propose, again and again with the same id where there is no answer."""
        for _try in range(_TRIES):
            try:
                answer = seat.commit(*ops, request_id=request_id)
            except NodeError:
                seat = chance.choice(self.seats)
                if self._ending.wait(0.05):
                    break
                continue
            return ("ok" if isinstance(answer, Applied) else "refused"), seat.name
        return "unknown", seat.name

    def _read(self, client: int, chance: random.Random, seat: RowSeat) -> None:
        thing = self._thing("list", chance, _LISTS)
        reading = self._history.operation(thing, "read", seat.label, client)
        with reading as pending, contextlib.suppress(NodeError):
            seat.catch_up()
            pending.came_to("ok", seen=seat.elements(thing))

    def _read_register(self, client: int, chance: random.Random, seat: RowSeat) -> None:
        thing = self._thing("register", chance, _REGISTERS)
        is_local = chance.random() < 0.5
        label = seat.label
        reading = self._history.operation(thing, "read", label, client, is_local=is_local)
        with reading as pending, contextlib.suppress(NodeError):
            if not is_local:
                seat.catch_up()
            held = seat.register(thing)
            seen = (held.value,) if held.rev else ()
            if label == seat.label:  # not of the life before and of the one after
                pending.came_to("ok", version=held.version, seen=seen)

    def _look(self, client: int, chance: random.Random, seat: RowSeat) -> None:
        thing = self._thing("list", chance, _LISTS)
        label = seat.label
        with self._history.operation(thing, "read", label, client, is_local=True) as pending:
            seen = seat.elements(thing)
            if label == seat.label:
                pending.came_to("ok", seen=seen)
        self._ending.wait(0.005)


class Held(msgspec.Struct, frozen=True):
    """What one node's store holds at one log entry."""

    applied_index: int
    digest: str
    lists: dict[str, list[str]]
    registers: dict[str, list[str]]
    counters: dict[str, int]


def held_by(seats: Sequence[RowSeat], mark: str, timeout_s: float = 60.0) -> dict[str, Held]:
    """Return what all nodes hold, of the drill with that mark, at the same log entry.

    Raises:
        DrillFault: they do not get to the same entry.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.ExitStack() as stack:
            stores = {seat.name: stack.enter_context(_snapshot(seat)) for seat in seats}
            entries = {name: _applied(db) for name, db in stores.items()}
            if len(set(entries.values())) == 1:
                return {name: _held(db, entries[name], mark) for name, db in stores.items()}
        if time.monotonic() > deadline:
            raise DrillFault(f"The nodes do not get to the same entry of the log: {entries}")
        time.sleep(0.1)


@contextlib.contextmanager
def _snapshot(seat: RowSeat) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(
        sqlite3.connect(f"{seat.store.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    ) as db:
        db.execute("BEGIN")
        _applied(db)
        yield db


def _applied(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT value FROM meta WHERE key='applied'").fetchone()[0])


def _held(db: sqlite3.Connection, applied: int, mark: str) -> Held:
    digest = hashlib.sha256()
    for line in db.iterdump():
        digest.update(line.encode())
    lists: dict[str, list[str]] = {}
    ours = (f"list/{mark}-%",)
    items = db.execute("SELECT thing, id FROM drill_items WHERE thing LIKE ? ORDER BY rev", ours)
    for thing, name in items:
        lists.setdefault(thing, []).append(name)
    rows = db.execute(
        "SELECT id, doc ->> '$.version', doc ->> '$.value' FROM drill_registers WHERE id LIKE ?",
        (f"register/{mark}-%",),
    )
    registers = {name: [str(version), value] for name, version, value in rows}
    counters = dict(db.execute("SELECT id, value FROM counters WHERE id LIKE ?", ours))
    return Held(applied, digest.hexdigest(), lists, registers, counters)
