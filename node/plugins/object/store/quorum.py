"""Writes and reads of names on a majority of the replicas of a container's index.

Hard part: what one acknowledged, all later ones see. A write is acknowledged when a majority has it, a read asks a
majority and gives what it returns to a majority first where they differ, and a write that depends on what is there
reserves the name on a majority before it looks: of two such writers one is told `stale` and looks again. With one
replica all this is one call, and the replica judges for itself.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from node.plugins.object.store import index_ops as ops
from node.plugins.object.store.host import STALE_MAP
from node.plugins.object.store.index_ops import AdoptOp, IndexOp, MergeOp, ReserveOp, Result
from node.plugins.object.store.layout import Places, majority
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.record import Record, confirm, merge
from node.plugins.object.store.scheme import extents, is_inline
from node.plugins.object.store.stamps import Stamps
from node.sdk import Clock, DiskFull, NotFound, PreconditionFailed, Unavailable

log = logging.getLogger("hedgerow.object")

Judge = Callable[[Mapping[str, Record]], None]
"""Looks at a name's records and raises what is wrong."""

_ATTEMPTS = 12
_MAP_PATIENCE_S = 5.0
_WRITE_TIMEOUT_S = 30.0


class Stale(Exception):
    """A later stamp is needed."""

    def __init__(self, *, by_all: bool) -> None:
        super().__init__()
        self.by_all = by_all
        """Whether every replica has refused, so that the try left nothing behind."""


class IndexQuorum:
    """Names on a majority of replicas. Thread-safe."""

    def __init__(self, nodes: Nodes, clock: Clock) -> None:
        self.nodes = nodes
        self.clock = clock
        self.stamps = Stamps(clock)

    # -------------------------------------------------------------------------------------------- writing

    def is_single(self, container_id: str) -> bool:
        """Return whether there is one replica only."""
        sets = self.nodes.map_file.places().write_sets(container_id)
        return len(sets) == 1 and len(sets[0]) == 1

    def write(
        self, container_id: str, name: str, make: Callable[[int, bool, int], IndexOp], judge: Judge | None,
        *, adds: bool = False,
    ) -> tuple[Result, int]:  # fmt: skip
        """Write with stamps until one is late enough; return what came of it, and the stamp.

        `make(stamp, replicated, reserved)` makes the operation. `judge` is asked where the name must be reserved: there
        is more than one replica, and the write depends on what is there.
        """
        mine: set[int] = set()
        for attempt in range(_ATTEMPTS):
            stamp = self.stamps.next()
            replicated = not self.is_single(container_id)
            try:
                reserved = 0
                if replicated and judge is not None:
                    present = self._reserve(container_id, name, stamp, adds=adds)
                    done = [s for r in present.values() for s in (r.stamp, r.meta_stamp) if s in mine]
                    if done:  # an earlier try was only heard by some, and now all have it
                        return Result(), done[0]
                    self._judge(judge, present, was_heard=bool(mine))
                    reserved = stamp
                op = make(stamp, replicated, reserved)
                mine.add(stamp)
                return self._send(container_id, op), stamp
            except Stale as stale:
                if stale.by_all:
                    mine.discard(stamp)
                if attempt:
                    time.sleep(0.002 * attempt)  # another writer of the same name is at it
        raise Unavailable("Too many writers of the same object: try again")

    def _judge(self, judge: Judge, present: Mapping[str, Record], *, was_heard: bool) -> None:
        try:
            judge(present)
        except PreconditionFailed as error:
            if was_heard:  # some took an earlier try; others may have built on it since
                raise Unavailable("Nobody knows whether this was written: look") from error
            raise

    def _reserve(
        self, container_id: str, name: str, stamp: int, *, adds: bool
    ) -> Mapping[str, Record]:
        """Reserve a name; return its records as a majority has them, now on a majority."""
        op = ReserveOp(container_id=container_id, name=name, stamp=stamp, adds=adds)
        results = self.outcomes(container_id, op)
        found = {disk: result.records for disk, result in results.items() if result.state == ops.OK}
        return self._adopted(container_id, name, stamp, found)

    def _adopted(
        self, container_id: str, name: str, stamp: int, found: Mapping[str, Sequence[Record]]
    ) -> Mapping[str, Record]:
        """Merge what replicas have of a reserved name; what only some have is confirmed with the stamp.

        Without that a writer whose reservation has ended, but whom a replica let in before, could still win over it.
        """
        merged = merge(*found.values())
        unsure = [r for r in merged.values() if not all(r in records for records in found.values())]
        if not unsure:
            return merged
        blobs = {}
        for record in unsure:
            if is_inline(record.data):
                blob_id = extents(record.data)[0].id
                blob = self._blob_from([d for d, some in found.items() if record in some], blob_id)
                if blob is None:
                    raise Unavailable("Copies of the container's index differ and cannot be mended now")
                blobs[blob_id] = blob
        confirmed = [confirm(record, stamp) for record in unsure]
        self.outcomes(
            container_id,
            AdoptOp(container_id=container_id, name=name, stamp=stamp, records=confirmed, blobs=blobs),
        )
        return {**merged, **{record.version_id: record for record in confirmed}}

    def _send(self, container_id: str, op: IndexOp) -> Result:
        results = self.outcomes(container_id, op)
        good = [result for result in results.values() if result.state == ops.OK]
        return max(good, key=lambda result: len(result.records))

    def outcomes(self, container_id: str, op: IndexOp) -> Mapping[str, Result]:
        """Send an operation to all replicas; return what they said once a majority of each set has done it.

        Raises:
            Stale: some have seen a later stamp.
            NotFound, PreconditionFailed, DiskFull, Unavailable: as the store's contract says.
        """
        deadline_s = self.clock.monotonic_s() + _MAP_PATIENCE_S
        while True:
            places = self.nodes.map_file.places()
            sets = places.write_sets(container_id)
            if not sets or not sets[0]:
                raise Unavailable("The object store of this node is not ready yet")
            results = self._gather(places, sets, op)
            if is_enough(sets, results):
                return results
            states = {result.state for result in results.values()}
            if STALE_MAP not in states or self.clock.monotonic_s() > deadline_s:
                break
            time.sleep(0.05)  # the rows of the new layout are on their way to this node
        self._raise(results)
        raise AssertionError("unreachable")

    def _raise(self, results: Mapping[str, Result]) -> None:
        states = {result.state for result in results.values()}
        if ops.STALE in states:
            self.stamps.seen(max(result.stamp for result in results.values()))
            raise Stale(by_all=states == {ops.STALE})
        if ops.CLOSED in states:
            raise NotFound("The container was deleted")
        if ops.FAILED in states:
            raise PreconditionFailed("The object is not as it is expected")
        if ops.GONE in states:
            raise NotFound("The object was replaced or deleted")
        if ops.FULL in states:
            raise DiskFull("The disks of the object store are full")
        raise Unavailable("Too few copies of the container's index can be written")

    def _gather(
        self, places: Places, sets: Sequence[Sequence[str]], op: IndexOp
    ) -> dict[str, Result]:
        by_node: dict[str, list[str]] = {}
        for disk_id in dict.fromkeys(disk for some in sets for disk in some):
            by_node.setdefault(self.nodes.node_of(places, disk_id), []).append(disk_id)
        unlikely = {node for node in by_node if not self.nodes.is_likely(places, node)}
        hopeful = {d: Result() for n, disks in by_node.items() if n not in unlikely for d in disks}
        if unlikely and is_enough(sets, hopeful):  # those that are away would only hold threads up
            by_node = {node: disks for node, disks in by_node.items() if node not in unlikely}
        own = by_node.pop(places.map.node_id, [])
        results: dict[str, Result] = {}
        waiting: set[Future[dict[str, Result]]] = {
            self.nodes.spawn(lambda n=node, d=disks: self._write(n, d, op, places))  # type: ignore[misc]
            for node, disks in by_node.items()
        }
        if own:
            results |= self._write(places.map.node_id, own, op, places)
        until_s = self.clock.monotonic_s() + _WRITE_TIMEOUT_S
        while waiting and not is_enough(sets, results):
            done, waiting = wait(
                waiting, max(0.0, until_s - self.clock.monotonic_s()), FIRST_COMPLETED
            )
            if not done:
                break
            for future in done:
                results |= future.result()
        return results

    def _write(
        self, node_id: str, disks: Sequence[str], op: IndexOp, places: Places
    ) -> dict[str, Result]:
        try:
            found = self.nodes.access(node_id).write(disks, [op], places.map.newest)
            self.nodes.trust(node_id)
            return {disk_id: results[0] for disk_id, results in found.items()}
        except Unavailable as error:
            if node_id != places.map.node_id:
                self.nodes.shun(node_id)
            log.debug("node %s cannot be written: %s", node_id, error)
            return {disk_id: Result(state=ops.AWAY) for disk_id in disks}

    # -------------------------------------------------------------------------------------------- reading

    def records(self, container_id: str, name: str) -> Mapping[str, Record]:
        """Return the records of a name, tombstones too, by version id."""
        places = self.nodes.map_file.places()
        disks = places.read_set(container_id)
        found = self.nodes.ask_some(
            disks,
            majority(len(disks)),
            lambda access, disk_id: access.records(disk_id, container_id, name),
        )
        return self._agreed(found)

    def _agreed(self, found: Mapping[str, Sequence[Record]]) -> Mapping[str, Record]:
        """Merge what replicas have; where they differ, give all of them the result."""
        merged = merge(*found.values())
        for record in merged.values():
            self.stamps.seen(record.order[0])
        lacking = {
            disk_id: [r for r in merged.values() if r not in records]
            for disk_id, records in found.items()
        }
        if any(lacking.values()):
            self._repair(found, lacking)
        return merged

    def _repair(
        self, found: Mapping[str, Sequence[Record]], lacking: Mapping[str, Sequence[Record]]
    ) -> None:
        places = self.nodes.map_file.places()
        for disk_id, records in lacking.items():
            if not records:
                continue
            blobs: dict[str, bytes] = {}
            whole: list[Record] = []
            for record in records:
                if not is_inline(record.data):
                    whole.append(record)
                    continue
                blob_id = extents(record.data)[0].id
                blob = self._blob_from([d for d, some in found.items() if record in some], blob_id)
                if blob is not None:
                    blobs[blob_id] = blob
                    whole.append(record)
            op = MergeOp(records=whole, blobs=blobs)
            node_id = self.nodes.node_of(places, disk_id)
            state = self._write(node_id, [disk_id], op, places)[disk_id].state
            if state != ops.OK or len(whole) < len(records):
                raise Unavailable("Copies of the container's index differ and cannot be mended now")

    def _blob_from(self, disk_ids: Sequence[str], id: str) -> bytes | None:
        for disk_id in disk_ids:
            try:
                found = self.nodes.blob(disk_id, id)
            except Unavailable:
                continue
            if found is not None:
                return found
        return None


def is_enough(sets: Sequence[Sequence[str]], results: Mapping[str, Result]) -> bool:
    """Return whether a majority of each set has done it."""
    return all(
        sum(1 for disk in some if disk in results and results[disk].state == ops.OK)
        >= majority(len(some))
        for some in sets
    )
