"""Where other nodes are: rows know best, then what was remembered from the last run, then what multicast found."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from node.cluster.join_messages import Member
from node.cluster.peers import Address
from node.cluster.roster import member_row
from node.control.placement import NodeRow
from node.state.reader import Reader
from node.types import Frozen

PEERS_FILE = "peers.json"
_MOST_FOUND = 512


class Sighting(Frozen):
    """A node that announced itself, or that spoke to this one."""

    node_id: str
    host: str
    port: int
    digest: str = ""
    """What it says its cluster, or its token's, is; see `cluster_digest`."""
    ca: str = ""
    """The beginning of its CA's fingerprint; empty: it is in no cluster."""


class AddressBook:
    """Finds a node's cluster port by its id. Thread-safe."""

    def __init__(self, directory: Path, db: Callable[[], Reader] | None) -> None:
        """Take what was remembered. `db` is None where there are no rows."""
        self._path = directory / PEERS_FILE
        self._db = db
        self._lock = threading.Lock()
        self._found: dict[str, Sighting] = {}
        self._turns: dict[str, int] = {}
        self._remembered = {member.node_id: member for member in _load(self._path)}

    def __call__(self, node_id: str) -> Address | None:
        """Return where a node's cluster port is, None when nobody knows; another place after one was `unreachable`."""
        places = self._places(node_id)
        with self._lock:
            turn = self._turns.get(node_id, 0)
        return places[turn % len(places)] if places else None

    def unreachable(self, node_id: str) -> None:
        """Note that a node is not where the last answer said: the next one names the next place that is known."""
        with self._lock:
            self._turns[node_id] = self._turns.get(node_id, 0) + 1

    def _places(self, node_id: str) -> list[Address]:
        places: list[Address] = []
        if self._db is not None:
            row = member_row(self._db(), node_id)
            if row is not None and row.address and row.cluster_port:
                places.append((row.address, row.cluster_port))
        with self._lock:
            remembered, found = self._remembered.get(node_id), self._found.get(node_id)
        if self._db is None or not places:  # what rows say is newer than what was remembered of them
            places += [(remembered.host, remembered.port)] if remembered is not None else []
        places += [(found.host, found.port)] if found is not None else []
        return list(dict.fromkeys(places))

    def remembered(self) -> dict[str, Member]:
        """Return the members that were remembered, by id."""
        with self._lock:
            return dict(self._remembered)

    def see(self, sighting: Sighting) -> None:
        """Take note of a node; the last word of it counts."""
        with self._lock:
            self._found.pop(sighting.node_id, None)
            self._found[sighting.node_id] = sighting
            if len(self._found) > _MOST_FOUND:
                self._found.pop(next(iter(self._found)))

    def unsee(self, node_id: str) -> None:
        """Forget a node that said goodbye."""
        with self._lock:
            self._found.pop(node_id, None)

    def sightings(self) -> list[Sighting]:
        """Return who was seen, the last one first."""
        with self._lock:
            return list(reversed(self._found.values()))

    def candidates(self) -> list[Sighting]:
        """Return everyone who might be asked for a way into the cluster, without doubles."""
        with self._lock:
            remembered = [
                Sighting(node_id=m.node_id, host=m.host, port=m.port)
                for m in self._remembered.values()
            ]
        by_address = {(one.host, one.port): one for one in (*remembered, *self.sightings())}
        return list(by_address.values())

    def remember(self, members: Iterable[Member] | None = None) -> None:
        """Store where the members are, for a start without the rows; None: as the rows have it now."""
        if members is None:
            if self._db is None:
                return
            members = (
                Member(node_id=row.id, host=row.address, port=row.cluster_port)
                for row in self._db().rows(NodeRow)
                if row.address and row.cluster_port
            )
        fresh = {member.node_id: member for member in members}
        with self._lock:
            if not fresh or fresh == self._remembered:
                return
            self._remembered = fresh
        aside = self._path.with_suffix(".new")
        with aside.open("wb") as file:
            file.write(msgspec.json.encode(list(fresh.values())))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self._path)


def _load(path: Path) -> list[Member]:
    """Return what was remembered; a file that cannot be read is as good as none."""
    with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return msgspec.json.decode(path.read_bytes(), type=list[Member])
    return []
