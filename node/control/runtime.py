"""Runs reconcilers: wakes, workers, backoff, resync, reports, pausing and listing.

Change notices only say which keys to look at. They come from the log's thread, which must never wait, so they are
handed to one router thread that asks each reconciler what a change concerns.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from node.clock import Clock
from node.config import Config
from node.control.backoff import delay_s
from node.control.queue import KeyQueue
from node.control.reconciler import Control, Reconciler
from node.data_port import DataPort, NoDataPort
from node.errors import Conflict, DiskFull, NodeError, Unavailable
from node.ids import Ids
from node.observe.log import bound
from node.state.reader import Reader, Readers
from node.state.row import Row
from node.state.txn import AnyOp, Applied, Txn, decode_outcome, encode_txn
from node.types import Frozen, NodeId

log = logging.getLogger("hedgerow.control")

Changes = Mapping[str, set[str]]
_COMMIT_TIMEOUT_S = 15.0


class Failure(Frozen):
    """A key that failed and is waiting for its next try."""

    key: str
    attempts: int
    error: str
    next_s: float


class ReconcilerState(Frozen):
    """What `hedgerow debug reconcilers` lists."""

    name: str
    paused: bool
    started: bool
    ready: int
    delayed: int
    running: tuple[str, ...]
    looks: int
    failures: tuple[Failure, ...]


class NodeControl(Control):
    """The control that reconcilers of this node get."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        config: Config,
        clock: Clock,
        ids: Ids,
        hook: Any,
        readers: Readers,
        propose: Callable[[bytes, float], bytes],
        data_port: DataPort | None = None,
    ) -> None:
        self.node_id = node_id
        self.config = config
        self.clock = clock
        self.ids = ids
        self.hook = hook
        self.data_port = data_port or NoDataPort()
        self._readers = readers
        self._propose = propose
        self.waker: Callable[[str, str], None] = lambda _name, _key: None
        self.lease: Callable[[], bool] = lambda: True
        self.stop_event = threading.Event()

    @property
    def db(self) -> Reader:
        """Return the calling thread's reader."""
        return self._readers.reader()

    def wake(self, reconciler: str, key: str) -> None:
        """Ask for a look at a key of a reconciler."""
        self.waker(reconciler, key)

    def commit(self, ops: Sequence[AnyOp], *, frees: bool = False) -> bool:
        """Propose operations; say whether they held."""
        txn = Txn(request_id=self.ids.uuid(), ops=tuple(ops), frees=frees)
        outcome = decode_outcome(self._propose(encode_txn(txn), _COMMIT_TIMEOUT_S))
        if not isinstance(outcome, Applied):
            log.debug(
                "report refused",
                extra={"reason": outcome.reason, "row": f"{outcome.table}/{outcome.id}"},
            )
        return isinstance(outcome, Applied)

    def lease_valid(self) -> bool:
        """Return whether this node may act as a member of its cluster."""
        return self.lease()

    def stopping(self) -> bool:
        """Return whether the node is going down."""
        return self.stop_event.is_set()


class _Runner:
    """One reconciler with its queue, its workers and the failures of its keys."""

    def __init__(self, reconciler: Reconciler, control: NodeControl) -> None:
        self.reconciler = reconciler
        self.control = control
        self.queue = KeyQueue(control.clock)
        self.started = False
        self.looks = 0
        self._failures: dict[str, tuple[int, str, float]] = {}
        self._refusals: dict[str, int] = {}
        self._lock = threading.Lock()
        self.tables = {row_type.__table__.name: row_type for row_type in reconciler.watches}
        count = max(1, reconciler.workers)
        names = [f"{reconciler.name}-{number}" for number in range(count)]
        self.threads = [
            threading.Thread(target=self._work, name=name, daemon=True) for name in names
        ]
        self.starter = threading.Thread(
            target=self._start, name=f"{reconciler.name}-start", daemon=True
        )

    def _start(self) -> None:
        """Start the reconciler, again and again until it can; then look at everything."""
        attempt = 0
        while not self.control.stopping():
            try:
                self.reconciler.start()
                break
            except Exception:
                attempt += 1
                wait_s = delay_s(attempt)
                log.exception(
                    "reconciler %s cannot start, again in %.1f s", self.reconciler.name, wait_s
                )
                self.control.stop_event.wait(wait_s)
        if self.control.stopping():
            return
        self.started = True
        for thread in self.threads:
            thread.start()
        self._resync()

    def _resync(self) -> None:
        attempt = 0
        while not self.control.stopping():
            wait_s = self.reconciler.resync_s
            try:
                self.queue.add(self.reconciler.keys())
                attempt = 0
            except Exception:
                attempt += 1
                wait_s = min(wait_s, delay_s(attempt))
                log.exception("reconciler %s cannot list its keys", self.reconciler.name)
            self.control.stop_event.wait(wait_s)

    def lease_changed(self) -> None:
        """Look at everything, when the lease matters here."""
        if self.reconciler.watches_lease:
            self.look_at_all()

    def look_at_all(self) -> None:
        """Look at every key soon."""
        if not self.started:
            return
        try:
            self.queue.add(self.reconciler.keys())
        except Exception:
            log.exception("reconciler %s cannot list its keys", self.reconciler.name)

    def route(self, row_type: type[Row], ids: Iterable[str]) -> None:
        """Wake the keys that changed rows concern."""
        for row_id in ids:
            try:
                self.queue.add(self.reconciler.affected(row_type, row_id))
            except Exception:
                log.exception(
                    "reconciler %s cannot tell what a change concerns", self.reconciler.name
                )

    def _work(self) -> None:
        while not self.control.stopping():
            key = self.queue.take(timeout_s=5.0)
            if key is None:
                continue
            with bound(reconciler=self.reconciler.name, key=key):
                try:
                    self._look(key)
                finally:
                    self.queue.done(key)

    def _look(self, key: str) -> None:
        self.looks += 1
        try:
            done = self.reconciler.reconcile(key)
            held = self.control.commit(done.ops, frees=done.frees) if done.ops else True
        except Exception as error:  # noqa: BLE001 - anything may fail; it is tried again
            self._failed(key, error)
            return
        if not held:
            self._refused(key)
            return
        with self._lock:
            self._failures.pop(key, None)
            self._refusals.pop(key, None)
        if done.again_s is not None:
            self.queue.add_later(key, done.again_s)

    def _refused(self, key: str) -> None:
        """Look again at once when rows changed meanwhile; later when the report is refused again and again."""
        with self._lock:
            refusals = self._refusals[key] = self._refusals.get(key, 0) + 1
        if refusals == 1:
            self.queue.add([key])
        else:
            self._failed(key, Conflict("The report was refused again: rows it rests on changed"))

    def _failed(self, key: str, error: Exception) -> None:
        with self._lock:
            attempts = self._failures.get(key, (0, "", 0.0))[0] + 1
            wait_s = delay_s(attempts)
            next_at = self.control.clock.monotonic_s() + wait_s
            self._failures[key] = (attempts, f"{type(error).__name__}: {error}", next_at)
        expected = isinstance(error, Unavailable | DiskFull | Conflict)
        log.warning(
            "look failed, again in %.1f s: %s",
            wait_s,
            error.message if isinstance(error, NodeError) else f"{type(error).__name__}: {error}",
            exc_info=None if expected or attempts > 3 else error,
            extra={"attempts": attempts},
        )
        self.queue.add_later(key, wait_s)

    def state(self) -> ReconcilerState:
        """Return what is listed of it."""
        now = self.control.clock.monotonic_s()
        queued = self.queue.state()
        with self._lock:
            failures = tuple(
                Failure(
                    key=key, attempts=attempts, error=error, next_s=round(max(0.0, at - now), 1)
                )
                for key, (attempts, error, at) in sorted(self._failures.items())
            )
        return ReconcilerState(
            name=self.reconciler.name,
            paused=self.queue.paused,
            started=self.started,
            ready=queued.ready,
            delayed=queued.delayed,
            running=queued.running,
            looks=self.looks,
            failures=failures,
        )


class Runtime:
    """All reconcilers of this node."""

    def __init__(self, control: NodeControl, reconcilers: Iterable[Reconciler]) -> None:
        self._control = control
        self._runners = {
            reconciler.name: _Runner(reconciler, control) for reconciler in reconcilers
        }
        self._changes: queue.SimpleQueue[Changes | None] = queue.SimpleQueue()
        self._router = threading.Thread(target=self._route, name="router", daemon=True)
        control.waker = self._wake

    def start(self) -> None:
        """Start all; returns at once."""
        self._router.start()
        for runner in self._runners.values():
            runner.starter.start()

    def changed(self, changes: Changes) -> None:
        """Take a notice of changed rows; never waits."""
        self._changes.put(changes)

    def lease_changed(self) -> None:
        """Have those reconcilers look at everything to which this node's lease matters."""
        for runner in self._runners.values():
            runner.lease_changed()

    def look_at_all(self) -> None:
        """Have every reconciler look at everything: the rows were replaced as a whole."""
        for runner in self._runners.values():
            runner.look_at_all()

    def stop(self, grace_s: float = 10.0) -> None:
        """Let running looks end, then release what the reconcilers hold."""
        self._control.stop_event.set()
        self._changes.put(None)
        for runner in self._runners.values():
            runner.queue.close()
        deadline = self._control.clock.monotonic_s() + grace_s
        for runner in self._runners.values():
            for thread in runner.threads:
                if thread.is_alive():
                    thread.join(max(0.0, deadline - self._control.clock.monotonic_s()))
        for runner in self._runners.values():
            if runner.started:
                try:
                    runner.reconciler.stop()
                except Exception:
                    log.exception("reconciler %s cannot stop cleanly", runner.reconciler.name)

    def pause(self, name: str, *, paused: bool) -> bool:
        """Stop or go on with a reconciler; say whether there is one of that name."""
        runner = self._runners.get(name)
        if runner is not None:
            runner.queue.pause(paused=paused)
        return runner is not None

    def state(self) -> list[ReconcilerState]:
        """Return the listing, by name."""
        return [runner.state() for _name, runner in sorted(self._runners.items())]

    def world(self) -> dict[str, list[str]]:
        """Return what the reconcilers made of this machine, by kind; one that cannot tell says why."""
        found: dict[str, list[str]] = {}
        for name, runner in sorted(self._runners.items()):
            try:
                made = runner.reconciler.world() if runner.started else {}
            except Exception as error:
                log.exception("reconciler %s cannot tell what it made", name)
                made = {"unknown": [f"{name}: {type(error).__name__}: {error}"]}
            for kind, things in made.items():
                found.setdefault(kind, []).extend(things)
        return {kind: sorted(things) for kind, things in sorted(found.items())}

    def tell(self, name: str, key: str) -> dict[str, Any]:
        """Return what a reconciler knows of a key's thing now.

        Raises:
            Unavailable: 503, there is none of that name, or it has not started yet.
        """
        runner = self._runners.get(name)
        if runner is None or not runner.started:
            raise Unavailable(f"The reconciler {name} does not run on this node")
        return dict(runner.reconciler.tell(key))

    def _wake(self, name: str, key: str) -> None:
        runner = self._runners.get(name)
        if runner is not None:
            runner.queue.add([key])

    def _route(self) -> None:
        while (changes := self._changes.get()) is not None:
            for table, ids in changes.items():
                for runner in self._runners.values():
                    row_type = runner.tables.get(table)
                    if row_type is not None:
                        runner.route(row_type, ids)
