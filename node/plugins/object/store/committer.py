"""The one writer of a disk's index: many writes, one flush.

A thread takes whatever has been asked meanwhile, carries it out in one transaction, commits it (one fsync), and only
then answers. Under load that makes the cost of a flush shared; without load nobody waits for company.
"""

import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from node.plugins.object.store import index_ops as ops
from node.plugins.object.store.fragment import drop_dead_staged
from node.plugins.object.store.index_ops import IndexOp, Result
from node.plugins.object.store.index_schema import open_writer
from node.plugins.object.store.index_write import IndexWriter
from node.sdk import Clock, Unavailable

log = logging.getLogger("hedgerow.object")

Answer = Callable[[Sequence[Result]], None]
Task = Callable[[sqlite3.Connection], Any]

_BATCH = 256
RESERVE_BYTES = 16 << 20


class _Job:
    """Operations of one caller, or a piece of the store's own work."""

    def __init__(self, work: Sequence[IndexOp] | Task, answer: Callable[[Any], None]) -> None:
        self.work = work
        self.answer = answer
        self.result: Any = None

    @property
    def frees(self) -> bool:
        """Whether it gives space back: then it may use what is kept for that."""
        return callable(self.work) or all(isinstance(op, ops.RemoveOp) for op in self.work)

    def run(self, writer: IndexWriter) -> None:
        """Carry it out."""
        if callable(self.work):
            self.result = self.work(writer.db)
        else:
            self.result = [writer.run(op) for op in self.work]

    def refuse(self, state: str, error: BaseException) -> None:
        """Say that it could not be carried out."""
        if callable(self.work):
            self.result = error
        else:
            self.result = [Result(state=state)] * len(self.work)


class Committer:
    """Owns the index of one disk for writing. `submit` may be called from any thread."""

    def __init__(self, root: Path, clock: Clock) -> None:
        """Open the index.

        Raises:
            sqlite3.Error: it cannot be used.
            OSError: the directory cannot.
        """
        self.root = root
        for name in ("fragments", "staged", "rotten"):
            (root / name).mkdir(mode=0o700, exist_ok=True)
        drop_dead_staged(root)
        self._db = open_writer(root)
        self._clock = clock
        self._reserve = root / "reserve"
        self._keep_reserve()
        self._writer = IndexWriter(self._db, clock)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.failure = ""
        """Why it takes nothing any more."""
        self.commits = 0
        self.operations = 0
        self._thread = threading.Thread(target=self._run, name=f"commit-{root.name}", daemon=True)
        self._thread.start()

    def submit(self, work: Sequence[IndexOp], answer: Answer) -> None:
        """Have operations carried out together; `answer` is called from the writer's thread when they are durable."""
        self._jobs.put(_Job(work, answer))

    def call(self, task: Task) -> Any:
        """Run a function with the connection, in a transaction, and return what it returns."""
        done = threading.Event()
        kept: list[Any] = []

        def answer(result: Any) -> None:
            kept.append(result)
            done.set()

        self._jobs.put(_Job(task, answer))
        done.wait()
        if isinstance(kept[0], BaseException):
            raise Unavailable(f"The index of {self.root} failed: {kept[0]}") from kept[0]
        return kept[0]

    def _keep_reserve(self) -> None:
        """Keep some space so that objects can be deleted on a full disk."""
        free = os.statvfs(self.root)
        if not self._reserve.exists() and free.f_bavail * free.f_frsize > 8 * RESERVE_BYTES:
            fd = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
            finally:
                os.close(fd)

    def note_alive(self) -> None:
        """Remember when the disk was last a part of the store."""
        self._keep_reserve()
        now = str(self._clock.now_us())
        self.call(lambda db: db.execute("INSERT OR REPLACE INTO notes VALUES('alive', ?)", (now,)).rowcount)

    def away_us(self) -> int:
        """Return for how long it was no part of the store before it was opened."""
        row = self._db.execute("SELECT value FROM notes WHERE key='alive'").fetchone()
        return self._clock.now_us() - int(row[0]) if row else 0

    def close(self) -> None:
        """Carry out what was asked, and end."""
        self._jobs.put(None)
        self._thread.join()
        self._db.close()

    def _run(self) -> None:
        is_ending = False
        while not is_ending:
            jobs = [self._jobs.get()]
            while len(jobs) < _BATCH:
                try:
                    jobs.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            is_ending = None in jobs
            batch = [job for job in jobs if job is not None]
            self._together(batch)
            for job in batch:
                try:
                    job.answer(job.result)
                except Exception:
                    log.exception("an answer of the object store could not be given")

    def _together(self, batch: Sequence[_Job]) -> None:
        """Carry out a batch in one transaction; job by job where that fails."""
        if not batch:
            return
        try:
            self._transact(batch)
        except Exception as error:
            if len(batch) > 1:
                for job in batch:
                    self._together([job])
                return
            is_full = "full" in str(error)
            if is_full and batch[0].frees and self._reserve.exists():
                self._reserve.unlink()
                self._together(batch)
                return
            if not is_full:
                log.exception("the index of %s refuses a write", self.root)
                self.failure = str(error)
            batch[0].refuse(ops.FULL if is_full else ops.AWAY, error)

    def _transact(self, batch: Sequence[_Job]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for job in batch:
                job.run(self._writer)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self.commits += 1
        self.operations += len(batch)
        self.failure = ""
