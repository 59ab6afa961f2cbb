"""Keeps the index of a disk in step with the other replicas of its containers.

Each index writes down the order in which its names changed. A replica reads on in that list, compares, and fetches what
it lacks; so what it missed while it was away comes within seconds. When the layout changes, it first walks through all
names of the others. A disk has `synced` a layout when it has walked through all of them, each of which refused, by
then, writers that did not know the layout.
"""

import logging
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from node.plugins.object.store.data_disk import end_rebuilding
from node.plugins.object.store.disk_answers import DiskAnswers, keys
from node.plugins.object.store.host import DiskHost
from node.plugins.object.store.index_ops import MergeOp
from node.plugins.object.store.layout import INDEX_REPLICAS, Places, majority
from node.plugins.object.store.nodes import Nodes
from node.plugins.object.store.pace import Pace
from node.plugins.object.store.record import Record
from node.sdk import Frozen, NodeError

log = logging.getLogger("hedgerow.object")

TASK = "follow"
_BATCH = 500
_FETCH = 100


class Place(Frozen):
    """How far one disk has come in following another one."""

    layout: int = 0
    """The layout for which all was walked through; less than the newest: a walk is under way."""
    target: int = 0
    """The layout that the walk is for."""
    seq: int = 0
    container: str = ""
    name: str = ""


# Made while this is imported: msgspec must not look at a type for the first time in two threads at once.
_places = msgspec.json.Decoder(Place)


class Follower:
    """Follows for all disks of this node."""

    def __init__(self, nodes: Nodes, host: DiskHost, answers: DiskAnswers, pace: Pace) -> None:
        self._nodes = nodes
        self._host = host
        self._answers = answers
        self._pace = pace
        self._synced: dict[str, int] = {}
        self.fetched = 0

    def synced(self, disk_id: str) -> int:
        """Return the newest layout that a disk is ready for."""
        return self._synced.get(disk_id, 0)

    def run(self) -> None:
        """Follow all others once."""
        places = self._nodes.map_file.places()
        for disk_id in self._host.disks():
            missing: list[str] = []
            for other in places.map.disks():
                if other.id == disk_id:
                    continue
                self._pace.check(TASK)
                try:
                    self._follow(places, disk_id, other.id)
                except NodeError as error:
                    log.debug("disk %s does not follow %s: %s", disk_id, other.id, error)
                    missing.append(other.id)
            if can_do_without(places, missing):
                self._synced[disk_id] = places.map.newest
                end_rebuilding(self._host.committer(disk_id).root)

    def _follow(self, places: Places, disk_id: str, other: str) -> None:
        place = self._place(disk_id, other)
        newest = places.map.newest
        if place.layout < newest and place.target != newest:
            first = self._ask(other, "changes", [0, 0, disk_id])
            if first["layout"] < newest:
                raise NodeError(f"disk {other} does not know layout {newest} yet")
            place = Place(layout=place.layout, target=newest, seq=first["newest"])
            self._keep(disk_id, other, place)
        if place.layout < newest:
            place = self._walk(disk_id, other, place)
        while True:
            found = self._ask(other, "changes", [place.seq, _BATCH, disk_id])
            if found["oldest"] > place.seq + 1 and place.seq < found["newest"]:
                place = Place(target=0)  # what was missed is not in the list any more
                self._keep(disk_id, other, place)
                raise NodeError(f"disk {other} has to be walked through again")
            self._take(disk_id, other, found["names"])
            if found["seq"] == place.seq:
                return
            place = msgspec.structs.replace(place, seq=found["seq"])
            self._keep(disk_id, other, place)

    def _walk(self, disk_id: str, other: str, place: Place) -> Place:
        while True:
            self._pace.check(TASK)
            found = self._ask(other, "walk", [place.container, place.name, _BATCH, disk_id])
            self._take(disk_id, other, found["names"])
            if found["end"] is None:
                place = msgspec.structs.replace(place, layout=place.target, container="", name="")
                self._keep(disk_id, other, place)
                return place
            container, name = found["end"]
            place = msgspec.structs.replace(place, container=container, name=name)
            self._keep(disk_id, other, place)

    def _take(self, disk_id: str, other: str, names: Sequence[Any]) -> None:
        """Fetch what this disk lacks of names."""
        reader = self._answers.reader(disk_id)
        lacking = []
        for container, name, theirs in names:
            mine: dict[str, int] = dict(keys(reader, container, name))
            if any(at > mine.get(version, 0) for version, at in theirs):
                lacking.append([container, name])
        while lacking:
            raw = self._ask(other, "names", lacking[:_FETCH])
            if not raw:
                return
            records: list[Record] = []
            blobs: dict[str, bytes] = {}
            for one in raw:
                records += [msgspec.convert(record, Record) for record in one["records"]]
                blobs |= one["blobs"]
            self._pace.spend(TASK, sum(map(len, blobs.values())) + 500 * len(records))
            self._merge(disk_id, records, blobs)
            self.fetched += len(records)
            lacking = lacking[len(raw) :]

    def _merge(self, disk_id: str, records: Sequence[Record], blobs: dict[str, bytes]) -> None:
        newest = self._nodes.map_file.places().map.newest
        self._nodes.local.write([disk_id], [MergeOp(records=records, blobs=blobs)], newest)

    def _ask(self, disk_id: str, question: str, argument: Any) -> Any:
        return self._nodes.ask(disk_id, question, argument)

    # -- what is remembered

    def _place(self, disk_id: str, other: str) -> Place:
        row = (
            self._answers.reader(disk_id)
            .db.execute("SELECT value FROM notes WHERE key=?", (f"follow {other}",))
            .fetchone()
        )
        return _places.decode(row[0]) if row else Place()

    def _keep(self, disk_id: str, other: str, place: Place) -> None:
        value = msgspec.json.encode(place).decode()

        def task(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO notes VALUES(?,?)", (f"follow {other}", value))

        self._host.committer(disk_id).call(task)


def can_do_without(places: Places, missing: Sequence[str]) -> bool:
    """Return whether all that was acknowledged is on disks that are not missing, whichever the container."""
    for layout in places.map.layouts[:-1] or places.map.layouts:
        replicas = min(INDEX_REPLICAS, len(layout.disks))
        nodes = {disk.node_id for disk in layout.disks}
        gone = [disk for disk in layout.disks if disk.id in missing]
        units = len({disk.node_id for disk in gone}) if len(nodes) >= replicas else len(gone)
        if units > majority(replicas) - 1:
            return False
    return True
