"""A cluster that begins anew on one node: after its majority is lost, or from an exported state.

Hard part: the others may come back with logs that say something else, and a majority of the old voters among them. So
the new log belongs to a later epoch, and nodes of different epochs never speak of the log with each other (`standing`):
a node of an earlier one gives up its log and takes over the rows of the later one. All that this node's log holds is
kept, also what nobody knows to be agreed: it may have been acknowledged. The node must not run. Each step may be
repeated after a kill: the log is replaced in one transaction, and that comes last.
"""

import contextlib
import os
import secrets
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from node.clock import Clock
from node.cluster.lock import DirectoryLock
from node.cluster.log_file import (
    Entry,
    Meta,
    open_file,
    read_entries,
    read_meta,
    write_entries,
    write_meta,
)
from node.cluster.tables import DepartedNode, WitnessRow
from node.control.placement import NodeRow
from node.errors import BadRequest, Conflict, MachineFault
from node.ids import Ids
from node.state.machine import Machine, check_copy, copy_store
from node.state.reader import STATE_FILE, Reader
from node.state.txn import AnyOp, Txn, delete, encode_entry, encode_txn, patch, put
from node.types import Frozen

LOG_DIRECTORY = "log"
"""Name of the log's directory in a node's state directory."""

_JOURNAL = "journal.db"
_SUPERSEDED = "superseded.json"
_DIVERGED = "diverged"
_NO_OP = b"\x01"
_REGULAR = 0
_HEADER = struct.Struct(">BBQQ")
_COMMAND_VERSION = 1
_FIRST_INDEX = 16
"""A log never begins lower than this: nodes with an empty log then need a copy of the rows."""
_SEQ_GAP = 1 << 20
"""Revisions go on so much later: none is given twice, whatever the lost nodes had agreed on."""
_RANDOM_BITS = 16


class Standpoint(Frozen):
    """How far one node's log and rows are: what to compare between survivors."""

    node_id: str
    epoch: int
    last_term: int
    last_index: int
    applied_index: int
    voters: tuple[str, ...]


class Later(Frozen):
    """A later epoch that this node has heard of."""

    epoch: int
    voters: tuple[str, ...]


def next_epoch(epoch: int) -> int:
    """Return an epoch of the next generation; two nodes that do this apart do not come to the same one."""
    return (generation(epoch) + 1 << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)


def generation(epoch: int) -> int:
    """Return how many times a cluster began anew."""
    return epoch >> _RANDOM_BITS


def epoch_of(directory: Path) -> int:
    """Return the epoch of the log in a state directory, 0 for one that never began anew."""
    path = directory / LOG_DIRECTORY / _JOURNAL
    if not path.exists():
        return 0
    with contextlib.closing(open_file(path)) as db:
        return _epoch(db)


def standpoint(directory: Path) -> Standpoint:
    """Return how far a node is that does not run.

    Raises:
        BadRequest: there is no node.
        DirectoryInUse: it runs.
    """
    with _stopped(directory) as (machine, db):
        meta = _meta(db, directory)
        entries = read_entries(db, directory)
        return Standpoint(
            node_id=meta.node,
            epoch=_epoch(db),
            last_term=entries[-1][2] if entries else 0,
            last_index=entries[-1][1] if entries else 0,
            applied_index=machine.applied_index,
            voters=meta.voters,
        )


def recover(directory: Path, clock: Clock, ids: Ids) -> Standpoint:
    """Begin a new epoch with this node as the only voter and all that it holds.

    Raises:
        BadRequest: there is no node.
        Conflict: what it holds is not enough to begin with.
        DirectoryInUse: it runs.
    """
    with _stopped(directory) as (machine, db):
        meta = _meta(db, directory)
        entries = read_entries(db, directory)
        if (directory / _SUPERSEDED).exists():
            raise Conflict("This node is giving way to another state: start it, or restore again")
        if machine.applied_index < meta.applied_floor or not (
            machine.applied_index or len(entries) > 1
        ):
            raise Conflict("This node does not hold all rows: recover on another one")
        _apply(machine, entries)
        return _begin(directory, machine, db, meta, entries, clock, ids)


def restore(directory: Path, file: Path, member: NodeRow, clock: Clock, ids: Ids) -> Standpoint:
    """Begin a new epoch with this node as the only voter and the rows of an exported state.

    `member` is the row of this node, for rows that do not know it.

    Raises:
        BadRequest: the file is no exported state.
        DirectoryInUse: the node runs.
    """
    try:
        check_copy(file)
    except MachineFault as error:
        raise BadRequest(f"{file} is no exported state: {error.message}") from error
    (directory / LOG_DIRECTORY).mkdir(mode=0o700, parents=True, exist_ok=True)
    with _stopped(directory) as (machine, db):
        meta = read_meta(db) or Meta(node=member.id, voters=(member.id,))
        entries = read_entries(db, directory)
        # A kill from here on leaves rows without a log that fits: the restore must be repeated then.
        write_later(directory, Later(epoch=_epoch(db), voters=()))
        machine.disown()
        machine.restore_from(file, is_checked=True)
        made = _begin(directory, machine, db, meta, entries, clock, ids, member)
        _forget_later(directory)
        return made


def export(directory: Path, file: Path) -> int:
    """Write all rows to a new file and return the log index they are of. The node may run.

    Raises:
        BadRequest: there is no node, or the file exists.
    """
    source = directory / STATE_FILE
    if not source.exists():
        raise BadRequest(f"{directory} holds no state of a node")
    if file.exists():
        raise BadRequest(f"{file} exists already")
    aside = file.with_name(f".{file.name}.new")
    aside.unlink(missing_ok=True)
    try:
        index = copy_store(source, aside)
        check_copy(aside)
        _sync(aside)
        aside.rename(file)
        _sync(file.parent)
    finally:
        aside.unlink(missing_ok=True)
    return index


# -- giving way to a later epoch


def write_later(directory: Path, later: Later) -> None:
    """Note durably that this node's log and rows are of an earlier epoch; the next start gives them up."""
    aside = directory / f"{_SUPERSEDED}.new"
    aside.write_bytes(msgspec.json.encode(later))
    _sync(aside)
    aside.rename(directory / _SUPERSEDED)
    _sync(directory)


def give_way(directory: Path) -> Later | None:
    """Give up log and rows if that was noted, and return the later epoch. To be called before either is opened.

    The rows stay readable until those of the later epoch replace them.

    Raises:
        Conflict: a restore was cut off.
    """
    path = directory / _SUPERSEDED
    if not path.exists():
        return None
    later = msgspec.json.decode(path.read_bytes(), type=Later)
    if not later.voters:
        raise Conflict("`hedgerow cluster restore` was cut off on this node: repeat it")
    with _stopped(directory) as (machine, db):
        meta = _meta(db, directory)
        machine.disown()
        machine.checkpoint()
        voters = tuple(voter for voter in later.voters if voter != meta.node)
        # Terms of an earlier epoch mean nothing in this one; a higher one would keep its leader out.
        _replace(db, Meta(node=meta.node, voters=voters), [], later.epoch)
        (directory / LOG_DIRECTORY / _DIVERGED).unlink(missing_ok=True)
    _forget_later(directory)
    return later


def _forget_later(directory: Path) -> None:
    (directory / _SUPERSEDED).unlink(missing_ok=True)
    _sync(directory)


# -- the new log


def _begin(
    directory: Path,
    machine: Machine,
    db: sqlite3.Connection,
    meta: Meta,
    entries: list[Entry],
    clock: Clock,
    ids: Ids,
    member: NodeRow | None = None,
) -> Standpoint:
    last_index = entries[-1][1] if entries else 0
    last_term = entries[-1][2] if entries else 0
    index = max(last_index, machine.applied_index, _FIRST_INDEX) + 1
    term = max(meta.term, last_term) + 1
    epoch = next_epoch(_epoch(db))
    machine.skip_revisions(_SEQ_GAP)
    machine.checkpoint()
    log: list[Entry] = [(_NO_OP, index - 1, term), (_NO_OP, index, term)]
    marks = _marks(directory, meta.node, clock, member)
    if marks:
        txn = encode_txn(Txn(request_id=ids.uuid(), ops=tuple(marks)))
        header = _HEADER.pack(_REGULAR, _COMMAND_VERSION, secrets.randbits(63), 0)
        log.append((header + encode_entry([txn]), index + 1, term))
    fresh = Meta(
        node=meta.node,
        term=term,
        voters=(meta.node,),
        committed=index,
        applied_floor=machine.applied_index,
    )
    _replace(db, fresh, log, epoch)
    (directory / LOG_DIRECTORY / _DIVERGED).unlink(missing_ok=True)
    return Standpoint(
        node_id=meta.node,
        epoch=epoch,
        last_term=term,
        last_index=log[-1][1],
        applied_index=machine.applied_index,
        voters=(meta.node,),
    )


def _replace(db: sqlite3.Connection, meta: Meta, entries: list[Entry], epoch: int) -> None:
    """Replace the whole log, durably, in one step."""
    _make_table(db)
    db.execute("BEGIN IMMEDIATE")
    db.execute("DELETE FROM log")
    write_entries(db, entries)
    write_meta(db, meta)
    db.execute("INSERT OR REPLACE INTO epoch VALUES (1, ?)", (epoch,))
    db.execute("COMMIT")


def _apply(machine: Machine, entries: list[Entry]) -> None:
    for command, index, _ in entries:
        if command[0] == _REGULAR and index > machine.applied_index:
            machine.apply(index, command[_HEADER.size :])


def _marks(directory: Path, node_id: str, clock: Clock, member: NodeRow | None) -> list[AnyOp]:
    """Return what the rows say of the nodes until they come back, and of this one."""
    now = clock.now_us()
    away = {"state": "down", "role": "learner", "updated_at": now}
    here = {"state": "up", "role": "voter", "want": "present", "updated_at": now}
    reader = Reader(directory / STATE_FILE)
    with contextlib.closing(reader):
        rows = {row.id: row for row in reader.rows(NodeRow)}
        ops: list[AnyOp] = [
            patch(NodeRow, row.id, **away, lease_epoch=row.lease_epoch + 1)
            for row in rows.values()
            if row.id != node_id
        ]
        ops += [
            patch(WitnessRow, row.id, role="learner", state="down", updated_at=now)
            for row in reader.rows(WitnessRow)
        ]
        if node_id in rows:
            ops.append(patch(NodeRow, node_id, **here))
        elif member is not None:
            ops.append(put(member))
        if reader.get(DepartedNode, node_id) is not None:
            ops.append(delete(DepartedNode, node_id))
        return ops


def _make_table(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE IF NOT EXISTS epoch (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL) STRICT"
    )


def _epoch(db: sqlite3.Connection) -> int:
    """Return the epoch; writes nothing, as a node starts on a full disk too."""
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name='epoch'").fetchone():
        return 0
    found = db.execute("SELECT value FROM epoch").fetchone()
    return int(found[0]) if found else 0


def _meta(db: sqlite3.Connection, directory: Path) -> Meta:
    meta = read_meta(db)
    if meta is None:
        raise BadRequest(f"{directory} holds no log of a node")
    return meta


@contextlib.contextmanager
def _stopped(directory: Path) -> Iterator[tuple[Machine, sqlite3.Connection]]:
    """Open the rows and the log of a node that does not run."""
    place = directory / LOG_DIRECTORY
    if not place.is_dir():
        raise BadRequest(f"{directory} holds no log of a node: is it the right state_dir?")
    lock = DirectoryLock(place)
    lock.take()
    try:
        with (
            contextlib.closing(Machine(directory / STATE_FILE)) as machine,
            contextlib.closing(open_file(place / _JOURNAL)) as db,
        ):
            yield machine, db
    finally:
        lock.release()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
