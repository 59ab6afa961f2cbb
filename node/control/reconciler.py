"""What a reconciler is: it makes this node's reality match the rows, one key at a time.

A reconciler is level-triggered: a change notice says only which key to look at. It reads rows and the world
afresh each time, acts, and reports by returning operations. Retry, backoff, serialisation by key, resync,
pausing and listing belong to the runtime.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from node.clock import Clock
from node.config import Config
from node.data_port import DataPort, NoDataPort, NoStreams, Streams
from node.ids import Ids
from node.state.reader import Reader
from node.state.row import Row
from node.state.txn import AnyOp
from node.types import Frozen, NodeId


class Done(Frozen):
    """The key is as wished. `ops` reports it; `again_s` asks for another look after that time.

    `frees` says that the report only gives space back, which is taken on a full disk too.
    """

    ops: Sequence[AnyOp] = ()
    again_s: float | None = None
    frees: bool = False


class Control(ABC):
    """What the runtime gives a reconciler."""

    node_id: NodeId
    config: Config
    clock: Clock
    ids: Ids
    hook: Any
    """Call other plugins: `control.hook.port_states(...)`."""
    data_port: DataPort = NoDataPort()
    """The way to bulk data of other nodes."""
    streams: Streams = NoStreams()
    """Connections to other nodes."""

    @property
    @abstractmethod
    def db(self) -> Reader:
        """Return the calling thread's reader."""

    @abstractmethod
    def wake(self, reconciler: str, key: str) -> None:
        """Ask for a look at a key of a reconciler, from any thread (for world events: libvirt, netlink)."""

    @abstractmethod
    def commit(self, ops: Sequence[AnyOp], *, frees: bool = False) -> bool:
        """Propose operations in the middle of an action; say whether they held.

        Raises:
            Unavailable: 503, no answer in time.
        """

    def lease_valid(self) -> bool:
        """Return whether this node may act as a member of its cluster; one that is alone always may.

        Without a lease others may take its work over: ask right before anything that must not run twice.
        """
        return True

    @abstractmethod
    def stopping(self) -> bool:
        """Return whether the node is going down: long actions should end early and be resumed later."""


class Reconciler(ABC):
    """Makes one kind of thing on this node match its rows."""

    name: ClassVar[str]
    watches: ClassVar[tuple[type[Row], ...]] = ()
    """Row types whose changes may concern this reconciler."""
    resync_s: ClassVar[float] = 60.0
    workers: ClassVar[int] = 2
    watches_lease: ClassVar[bool] = False
    """Whether all keys are looked at when this node loses or regains its lease."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def start(self) -> None:  # noqa: B027 - most have nothing to open
        """Open what is needed; called once before the first `keys`. May raise: it is tried again."""

    def stop(self) -> None:  # noqa: B027 - most have nothing to release
        """Release what `start` opened. The world is left as it is: VMs and networks outlive the daemon."""

    def world(self) -> Mapping[str, Sequence[str]]:
        """Return what this made of the machine, by kind (domains, bridges, …): what `hedgerow debug world` lists."""
        return {}

    def tell(self, key: str) -> Mapping[str, Any]:
        """Return what is known of a key's thing now, for a handler that asks (`Context.tell`); empty: nothing.

        Must answer within seconds and change nothing.
        """
        del key
        return {}

    @abstractmethod
    def keys(self) -> Iterable[str]:
        """Return every key to look at on a resync: those of the rows and those found in the world."""

    @abstractmethod
    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the keys that a changed (or removed) row concerns. Must be cheap: indexed reads only."""

    @abstractmethod
    def reconcile(self, key: str) -> Done:
        """Look at one key and act. The same key never runs twice at once.

        Raises:
            Exception: anything; the runtime logs it and tries again with backoff.
        """
