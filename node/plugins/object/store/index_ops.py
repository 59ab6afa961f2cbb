"""What is asked of the writer of an index, and what comes of it. Sent as msgpack between processes and nodes."""

from collections.abc import Sequence

from node.plugins.object.store.contract import ANY, Condition
from node.plugins.object.store.record import Record
from node.sdk import Frozen

OK = "ok"
STALE = "stale"
"""The name has a greater stamp, or one is promised: try again with one beyond `stamp`."""
CLOSED = "closed"
FAILED = "failed"
"""The condition does not hold."""
GONE = "gone"
FULL = "full"
AWAY = "away"
"""The disk cannot be used."""


class PutOp(Frozen, tag="put"):
    """Add a version, or a marker."""

    record: Record
    blob: bytes | None = None
    condition: Condition = ANY
    """Judged here where there is no other replica; else the name was reserved."""
    replicated: bool = False
    """There are other replicas: changes are written down for them, and what is removed leaves a tombstone."""
    reserved: int = 0
    """The stamp that this writer has reserved the name with."""


class RemoveOp(Frozen, tag="remove"):
    """Remove one version for good."""

    container_id: str
    name: str
    version_id: str
    stamp: int
    condition: Condition = ANY
    only_stamp: int = 0
    """Only the version as it was written with this stamp; 0: whatever is there."""
    replicated: bool = False
    reserved: int = 0


class UpdateOp(Frozen, tag="update"):
    """Replace what is said of a version whose `stamp` and data stay."""

    record: Record
    base: int
    """The `meta_stamp` that the change was made from: another one, and it must be made anew."""
    replicated: bool = False
    reserved: int = 0


class ReserveOp(Frozen, tag="reserve"):
    """Promise a name to one writer: none with a smaller stamp is let in any more. Answers with the name's records."""

    container_id: str
    name: str
    stamp: int
    adds: bool = False
    """Whether something is to be added, which a closed container refuses."""


class MergeOp(Frozen, tag="merge"):
    """Take what other replicas have. The greater one wins; nothing is refused."""

    records: Sequence[Record]
    blobs: dict[str, bytes] = {}


class AdoptOp(Frozen, tag="adopt"):
    """Take what the writer who has reserved the name found on some replicas only, confirmed with his stamp."""

    container_id: str
    name: str
    stamp: int
    records: Sequence[Record]
    blobs: dict[str, bytes] = {}


class CloseOp(Frozen, tag="close"):
    """Close a container where it is empty, or open it again."""

    container_id: str
    closed: bool = True
    now_us: int = 0


IndexOp = PutOp | RemoveOp | UpdateOp | ReserveOp | MergeOp | AdoptOp | CloseOp


class Result(Frozen):
    """What came of one operation."""

    state: str = OK
    stamp: int = 0
    """The greatest of the name, when `stale`."""
    records: Sequence[Record] = ()
    """The version that was removed; the name's records of a reservation."""
    latest: str = ""
    """Version id of the newest version of the name, as it was before."""
