"""This node's disks: reads go straight to the files, writes of the indexes to the store process."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from node.plugins.object.store.contract import Listing, Query, Usage
from node.plugins.object.store.data_disk import read_mark
from node.plugins.object.store.fragment import FragmentFile, FragmentSink, fragment_path
from node.plugins.object.store.host import DiskHost
from node.plugins.object.store.index_ops import IndexOp, Result
from node.plugins.object.store.index_pool import IndexPool
from node.plugins.object.store.index_read import IndexReader
from node.plugins.object.store.map_file import MapFile
from node.plugins.object.store.record import Record
from node.plugins.object.store.wire import AskRequest, Connection, Request, WriteRequest
from node.sdk import Clock, DiskFull, Unavailable

Outcome = Mapping[str, Sequence[Result]]

_TIMEOUT_S = 60.0
KEPT_FREE_BYTES = 64 << 20
"""Less than this is left to the index."""


class Backend(Protocol):
    """The way to the writers of this node's indexes."""

    def start(self, request: WriteRequest) -> Callable[[], Outcome]:
        """Begin a write; what is returned waits for its outcome."""

    def ask(self, request: AskRequest) -> Any:
        """Ask a question."""


class SocketBackend:
    """Writers in the store process. Each thread has a connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def _connection(self) -> Connection:
        found: Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = Connection(self._path, _TIMEOUT_S)
        return found

    def _drop(self) -> None:
        found: Connection | None = getattr(self._local, "connection", None)
        if found is not None:
            found.close()
            self._local.connection = None

    def _send(self, request: Request) -> Connection:
        """Send a request, anew where the store process was replaced since the last one."""
        for attempt in (1, 2):
            connection = self._connection()
            try:
                connection.send(request)
            except OSError as error:
                self._drop()
                if attempt == 2:
                    raise Unavailable(f"The store process went away: {error}") from error
                continue
            return connection
        raise AssertionError("unreachable")

    def start(self, request: WriteRequest) -> Callable[[], Outcome]:
        """Send a write."""
        connection = self._send(request)

        def outcome() -> Outcome:
            try:
                reply = connection.receive()
            except OSError as error:
                self._drop()
                raise Unavailable(f"The store process went away: {error}") from error
            if reply.error:
                raise Unavailable(reply.error)
            return reply.results

        return outcome

    def close(self) -> None:
        """Close the calling thread's connection."""
        self._drop()

    def ask(self, request: AskRequest) -> Any:
        """Ask a question."""
        connection = self._send(request)
        try:
            reply = connection.receive()
        except OSError as error:
            self._drop()
            raise Unavailable(f"The store process went away: {error}") from error
        if reply.error:
            raise Unavailable(reply.error)
        return reply.answer


class InnerBackend:
    """Writers in this very process."""

    def __init__(self, host: DiskHost, answer: Callable[[str, str, Any], Any] | None = None) -> None:
        self._host = host
        self._answer = answer

    def start(self, request: WriteRequest) -> Callable[[], Outcome]:
        """Hand a write over."""
        done = threading.Event()
        kept: list[Outcome] = []

        def answer(outcome: Outcome) -> None:
            kept.append(outcome)
            done.set()

        self._host.submit(request.disk_ids, request.ops, request.layout, answer)

        def outcome() -> Outcome:
            if not done.wait(_TIMEOUT_S):
                raise Unavailable("A disk of this node stalls")
            return kept[0]

        return outcome

    def ask(self, request: AskRequest) -> Any:
        """Ask a question."""
        if self._answer is None:
            raise Unavailable("Nothing answers questions here")
        return self._answer(request.disk_id, request.question, request.argument)


class LocalAccess:
    """A `NodeAccess` of this node."""

    def __init__(self, map_file: MapFile, backend: Backend, clock: Clock) -> None:
        self._map_file = map_file
        self._backend = backend
        self._clock = clock
        self._pool = IndexPool()

    def _root(self, disk_id: str) -> Path:
        places = self._map_file.places()
        disk = places.map.disk(disk_id)
        if disk is None or disk.node_id != places.map.node_id:
            raise Unavailable(f"This node does not have the disk {disk_id}")
        return Path(disk.path)

    def _reader(self, disk_id: str) -> IndexReader:
        return self._pool.reader(disk_id, self._root(disk_id))

    def start_write(
        self, disk_ids: Sequence[str], ops: Sequence[IndexOp], layout: int
    ) -> Callable[[], Outcome]:
        """Begin a write of indexes."""
        return self._backend.start(WriteRequest(disk_ids=disk_ids, ops=ops, layout=layout))

    def write(self, disk_ids: Sequence[str], ops: Sequence[IndexOp], layout: int) -> Outcome:
        """Write indexes."""
        return self.start_write(disk_ids, ops, layout)()

    def latest(self, disk_id: str, container_id: str, name: str) -> Record | None:
        """Return the newest version as one index has it."""
        return self._reader(disk_id).latest(container_id, name)

    def records(self, disk_id: str, container_id: str, name: str) -> Sequence[Record]:
        """Return all that an index has of a name."""
        return self._reader(disk_id).records(container_id, name)

    def list(self, disk_id: str, container_id: str, query: Query) -> Listing:
        """Return a page."""
        return self._reader(disk_id).list(container_id, query, self._clock.now_us())

    def usage(self, disk_id: str, container_ids: Sequence[str]) -> Sequence[tuple[Usage, int]]:
        """Return how much is in containers."""
        reader, now = self._reader(disk_id), self._clock.now_us()
        return [reader.usage(container_id, now) for container_id in container_ids]

    def blob(self, disk_id: str, id: str) -> bytes | None:
        """Return inline bytes."""
        return self._reader(disk_id).blob(id)

    def fragment_file(self, disk_id: str, name: str) -> Path:
        """Return where a fragment is, or would be."""
        return fragment_path(self._root(disk_id), name)

    def open_fragment(self, disk_id: str, name: str) -> FragmentFile:
        """Open a fragment."""
        return FragmentFile(self.fragment_file(disk_id, name))

    def create_fragment(self, disk_id: str, name: str) -> FragmentSink:
        """Begin a fragment."""
        root = self._root(disk_id)
        mark = read_mark(root)
        if mark is None or mark.id != disk_id:
            raise Unavailable(f"{root} does not hold the disk {disk_id}")
        free = os.statvfs(root)
        if free.f_bavail * free.f_frsize < KEPT_FREE_BYTES:
            raise DiskFull(f"{root} is full")
        return FragmentSink(root, name)

    def ask(self, disk_id: str, question: str, argument: Any) -> Any:
        """Ask what healing needs."""
        return self._backend.ask(AskRequest(disk_id=disk_id, question=question, argument=argument))
