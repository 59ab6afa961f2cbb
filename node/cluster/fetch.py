"""Copies of the row store for nodes that the log cannot bring up to date: the side that needs the rows.

A copy is fetched in ranges by a thread, not faster than it should be, into a file whose name is its hash: after a cut,
or a restart of this process, the rest is fetched. It is put in place of the rows only when it is whole and sound.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from node.cluster.catchup import LogStart
from node.cluster.rpc import Rpc
from node.cluster.snapshot import RPC_PATH, Offer, clean
from node.cluster.space import check_room
from node.errors import Conflict, MachineFault, NodeError, NotFound, Unavailable
from node.state.machine import check_copy
from node.types import Frozen

log = logging.getLogger("hedgerow.fetch")

_PREFIX = "in-"
_READ_BYTES = 1 << 18
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_TIMEOUT_S = 15.0


class Target(Protocol):
    """What a copy replaces."""

    @property
    def applied_index(self) -> int:
        """Return the index of the last entry that the rows hold."""

    def restore_from(self, path: Path, *, is_checked: bool = False) -> None:
        """Become the copy."""


class Installer(Protocol):
    """The log whose state is replaced."""

    def install(self, start: LogStart, restore: Callable[[], None]) -> None:
        """Stop applying, have the rows replaced, and begin the log anew.

        Raises:
            Conflict: the log is as far already.
        """


class Ranges(Protocol):
    """The way to another node's copies."""

    def open(self, node_id: str, name: str, offset: int) -> Any:
        """Return a context manager of a stream that begins there; it may end before the copy does."""


class RpcRanges:
    """Ranges over the links between cores."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    @contextmanager
    def open(self, node_id: str, name: str, offset: int) -> Iterator[BinaryIO]:
        """Open a stream.

        Raises:
            NotFound: 404, the copy is not there any more.
            Unavailable: 503, the node does not answer.
        """
        query = {"name": name, "offset": str(offset)}
        with self._rpc.open(node_id, "GET", RPC_PATH, query=query, timeout_s=_TIMEOUT_S) as answer:
            if answer.status == NotFound.status:
                raise NotFound(answer.read(1000).decode(errors="replace"))
            if answer.status != 200:
                raise Unavailable(f"Node {node_id} answers {answer.status} for its copy {name}")
            yield answer


class Progress(Frozen):
    """What is being fetched."""

    node_id: str
    size: int
    fetched: int
    is_installing: bool = False


class Fetcher:
    """Takes offers, one at a time."""

    def __init__(
        self,
        target: Target,
        installer: Installer,
        ranges: Ranges,
        directory: Path,
        *,
        on_restored: Callable[[], None] = lambda: None,
        bytes_per_s: int = 64 << 20,
    ) -> None:
        self._target = target
        self._installer = installer
        self._ranges = ranges
        self._directory = directory
        self._on_restored = on_restored
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._latest: tuple[str, Offer] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._progress: Progress | None = None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def progress(self) -> Progress | None:
        """Return what is being fetched, None when nothing is."""
        return self._progress

    def health(self) -> list[tuple[str, bool, str]]:
        """Return what `hedgerow status` should say, nothing while nothing is fetched."""
        progress = self._progress
        if progress is None:
            return []
        done = f"{progress.fetched >> 20} of {progress.size >> 20} MiB"
        detail = f"the rows of node {progress.node_id} are on their way: {done}"
        if progress.is_installing:
            detail = f"the rows of node {progress.node_id} are put in place of this node's"
        return [("catching up", False, detail)]

    def take(self, leader_id: str, offer: dict[str, Any]) -> None:
        """Note an offer, and fetch it unless that is under way. Never waits."""
        try:
            made = msgspec.convert(offer, Offer)
        except msgspec.ValidationError as error:
            log.error("an offer of node %s cannot be read: %s", leader_id, error)
            return
        with self._lock:
            self._latest = leader_id, made
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(
                    target=self._run, name="snapshot-fetch", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """Give up; what was fetched stays for the next start."""
        self._stopping.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(30.0)

    # -- the thread

    def _run(self) -> None:
        try:
            self._until_done()
        finally:
            self._progress = None
            with self._lock:
                self._thread = self._latest = None

    def _until_done(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            with self._lock:
                assert self._latest is not None
                node_id, offer = self._latest
            if offer.start.index <= self._target.applied_index:
                return
            try:
                path = self._fetched(node_id, offer)
                if path is not None:
                    self._install(node_id, offer, path)
                return
            except Conflict as error:
                log.info("the copy of node %s is not needed any more: %s", node_id, error.message)
                return
            except (NodeError, OSError) as error:
                log.warning("a copy of node %s cannot be had, again soon: %s", node_id, error)
            self._stopping.wait(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _fetched(self, node_id: str, offer: Offer) -> Path | None:
        """Return the whole copy, verified; None when this node is going down."""
        path = self._directory / f"{_PREFIX}{offer.sha256}"
        if not path.exists():
            clean(self._directory, _PREFIX)  # parts of other copies
        held = path.stat().st_size if path.exists() else 0
        # The rows are written three times: as a copy, to the store's log, and to the store.
        check_room(self._directory, 3 * offer.size - held)
        with path.open("ab") as file:
            while file.tell() < offer.size:
                if self._stopping.is_set():
                    return None
                before = file.tell()
                self._range(node_id, offer, file)
                if file.tell() == before:
                    raise Unavailable(f"Node {node_id} sent nothing of its copy")
            file.flush()
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != offer.sha256 or path.stat().st_size != offer.size:
            path.unlink()
            raise MachineFault(f"The copy fetched of node {node_id} is not the one it offered")
        try:
            index = check_copy(path)
            if index != offer.start.index:
                raise MachineFault(f"The copy is of entry {index}, not {offer.start.index}")
        except MachineFault:
            path.unlink()
            raise
        return path

    def _range(self, node_id: str, offer: Offer, file: BinaryIO) -> None:
        with self._ranges.open(node_id, offer.name, file.tell()) as stream:
            while not self._stopping.is_set():
                begin_s = time.monotonic()
                data = stream.read(min(_READ_BYTES, offer.size - file.tell()))
                if not data:
                    return
                file.write(data)
                self._progress = Progress(node_id=node_id, size=offer.size, fetched=file.tell())
                due_s = len(data) / self._bytes_per_s - (time.monotonic() - begin_s)
                if due_s > 0:
                    self._stopping.wait(due_s)

    def _install(self, node_id: str, offer: Offer, path: Path) -> None:
        self._progress = Progress(
            node_id=node_id, size=offer.size, fetched=offer.size, is_installing=True
        )
        begin_s = time.monotonic()
        try:
            self._installer.install(
                offer.start, lambda: self._target.restore_from(path, is_checked=True)
            )
        finally:
            path.unlink(missing_ok=True)
        log.info(
            "the rows are those of node %s at entry %d now: %d bytes, put in place in %.1f s",
            node_id,
            offer.start.index,
            offer.size,
            time.monotonic() - begin_s,
        )
        self._on_restored()


class Exchange:
    """Both sides of one node: what the log asks for snapshots."""

    def __init__(self, offer: Callable[[str], dict[str, Any] | None], fetcher: Fetcher) -> None:
        self._offer = offer
        self._fetcher = fetcher

    def offer(self, node_id: str) -> dict[str, Any] | None:
        """Return what to offer a node that needs a snapshot; None while there is nothing yet."""
        return self._offer(node_id)

    def take(self, leader_id: str, offer: dict[str, Any]) -> None:
        """Take an offer of the leader."""
        self._fetcher.take(leader_id, offer)
