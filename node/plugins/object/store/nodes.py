"""The ways to all nodes' disks, and which of them are worth trying first."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from node.plugins.object.store.layout import Places
from node.plugins.object.store.local_access import LocalAccess
from node.plugins.object.store.map_file import MapFile
from node.plugins.object.store.node_access import NodeAccess, Sink
from node.sdk import Clock, NodeError, Unavailable

log = logging.getLogger("hedgerow.object")

T = TypeVar("T")

_SHUNNED_S = 2.0
_THREADS = 32


class Nodes:
    """Access by node and by disk. Thread-safe."""

    def __init__(
        self, map_file: MapFile, local: LocalAccess, remote: Callable[[str], NodeAccess], clock: Clock
    ) -> None:  # fmt: skip
        self.map_file = map_file
        self.local = local
        self._make = remote
        self._clock = clock
        self._remote: dict[str, NodeAccess] = {}
        self._shunned: dict[str, float] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def access(self, node_id: str) -> NodeAccess:
        """Return the way to a node's disks."""
        if node_id == self.map_file.places().map.node_id:
            return self.local
        found = self._remote.get(node_id)
        if found is None:
            found = self._remote.setdefault(node_id, self._make(node_id))
        return found

    def of_disk(self, disk_id: str) -> NodeAccess:
        """Return the way to a disk. Raises Unavailable where no layout has it."""
        disk = self.map_file.places().map.disk(disk_id)
        if disk is None:
            raise Unavailable(f"There is no disk {disk_id}")
        return self.access(disk.node_id)

    def shun(self, node_id: str) -> None:
        """Try a node last for a moment: it did not answer."""
        self._shunned[node_id] = self._clock.monotonic_s() + _SHUNNED_S

    def trust(self, node_id: str) -> None:
        """A node has answered."""
        with self._lock:
            self._shunned.pop(node_id, None)

    def is_likely(self, places: Places, node_id: str) -> bool:
        """Return whether a node will probably answer."""
        if node_id == places.map.node_id:
            return True
        place = places.map.nodes.get(node_id)
        if place is not None and not place.is_up:
            return False
        with self._lock:
            until = self._shunned.get(node_id)
            now = self._clock.monotonic_s()
            if until is None:
                return True
            if until > now:
                return False
            self._shunned[node_id] = now + _SHUNNED_S  # one tries it, all others go on without
            return True

    def likely_first(self, places: Places, disk_ids: Iterable[str]) -> list[str]:
        """Return disks: those of this node, then those that will probably answer, then the others."""
        own = places.map.node_id

        def rank(disk_id: str) -> int:
            disk = places.map.disk(disk_id)
            if disk is None:
                return 3
            if disk.node_id == own:
                return 0
            return 1 if self.is_likely(places, disk.node_id) else 2

        return sorted(disk_ids, key=rank)

    def node_of(self, places: Places, disk_id: str) -> str:
        """Return the node that has a disk, "" where no layout has it."""
        disk = places.map.disk(disk_id)
        return disk.node_id if disk else ""

    def spawn(self, call: Callable[[], T]) -> "Future[T]":
        """Run something beside this thread."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="object")
        return self._pool.submit(call)

    def attempt(self, disk_id: str, call: Callable[[NodeAccess], T]) -> T:
        """Ask about a disk; what goes wrong on the way is Unavailable, and the node is shunned for a moment.

        Raises:
            Unavailable: 503.
        """
        try:
            found = call(self.of_disk(disk_id))
        except Unavailable:
            self._note(disk_id)
            raise
        except sqlite3.Error as error:
            raise Unavailable(f"The index of disk {disk_id} cannot be read: {error}") from error
        if self._shunned:
            self.trust(self.node_of(self.map_file.places(), disk_id))
        return found

    def blob(self, disk_id: str, id: str) -> bytes | None:
        """Return inline bytes of a disk; None where it does not have them whole.

        Raises:
            Unavailable: 503.
        """
        return self.attempt(disk_id, lambda access: access.blob(disk_id, id))

    def ask(self, disk_id: str, question: str, argument: Any) -> Any:
        """Ask what healing needs of a disk.

        Raises:
            Unavailable: 503.
        """
        return self.attempt(disk_id, lambda access: access.ask(disk_id, question, argument))

    def create_fragment(self, disk_id: str, name: str) -> Sink:
        """Begin a fragment on a disk.

        Raises:
            Unavailable: 503.
            DiskFull: 507.
        """
        return self.attempt(disk_id, lambda access: access.create_fragment(disk_id, name))

    def _note(self, disk_id: str) -> None:
        places = self.map_file.places()
        node_id = self.node_of(places, disk_id)
        if node_id and node_id != places.map.node_id:
            self.shun(node_id)

    def ask_some(
        self, disk_ids: Sequence[str], needed: int, call: Callable[[NodeAccess, str], T]
    ) -> dict[str, T]:
        """Ask disks until enough have answered: as many as are needed at once, others where one of these fails.

        Raises:
            Unavailable: 503, too few answer.
        """
        places = self.map_file.places()
        order = self.likely_first(places, disk_ids)
        found: dict[str, T] = {}
        last: NodeError | None = None
        while order and len(found) < needed:
            now, order = order[: needed - len(found)], order[needed - len(found) :]
            own = [d for d in now if self.node_of(places, d) == places.map.node_id]
            others = {
                disk_id: self.spawn(lambda d=disk_id: self.attempt(d, lambda a: call(a, d)))  # type: ignore[misc]
                for disk_id in now
                if disk_id not in own
            }
            for disk_id in own:
                try:
                    found[disk_id] = self.attempt(disk_id, lambda a, d=disk_id: call(a, d))  # type: ignore[misc]
                except Unavailable as error:
                    last = error
            for disk_id, future in others.items():
                try:
                    found[disk_id] = future.result()
                except Unavailable as error:
                    last = error
        if len(found) < needed:
            raise Unavailable(f"Too few copies of the index answer: {last or 'there are no disks'}")
        return found
