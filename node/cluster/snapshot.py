"""Copies of the row store for nodes that the log cannot bring up to date: the side that has the rows.

Hard part: a copy is of use only while the log still holds what follows it, so the log is pinned from before a copy
is begun until nobody has asked for it for a while. One copy serves all who need one. It is made in small steps
with pauses, in a thread, and only when a node asks. Files of an earlier process are removed at start.
"""

import contextlib
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from node.cluster.catchup import LogStart
from node.cluster.rpc import Rpc, RpcReply, RpcRequest
from node.cluster.space import check_room
from node.errors import BadRequest, DiskFull, NodeError, NotFound
from node.types import Frozen

log = logging.getLogger("hedgerow.snapshot")

RPC_PATH = "/cluster/snapshot"
RANGE_BYTES = 4 << 20
"""The most that one request may fetch."""

_PREFIX = "out-"
_STEP_PAUSE_S = 0.004
_RETRY_S = 5.0
_SAY_AGAIN_S = 60.0


class Offer(Frozen):
    """What the leader tells a node that needs a copy."""

    name: str
    size: int
    sha256: str
    start: LogStart
    """Where the log goes on after the copy."""


class LogKeeper(Protocol):
    """What a copy needs of the log."""

    def log_start(self, index: int) -> LogStart | None:
        """Return what a log that begins after an applied index needs; None: that index is not held any more."""

    def pin_log(self, index: int | None) -> None:
        """Keep the log from an index on; None: from nowhere."""

    @property
    def log_bytes(self) -> int:
        """Return how many bytes the log takes."""


class Source(Protocol):
    """What is copied."""

    path: Path

    @property
    def applied_index(self) -> int:
        """Return the index of the last entry that the rows hold."""

    def snapshot_to(self, path: Path, between: Callable[[], None]) -> int:
        """Write a copy and return its applied index."""


class CopyLimits(Frozen):
    """How long a copy is kept."""

    idle_s: float = 30.0
    """Since somebody last wanted it."""
    age_s: float = 1800.0
    log_bytes: int = 256 << 20
    """When the log that it pins has grown so much, it is given up."""


class _Stopped(Exception):
    """The node is going down."""


class Copies:
    """Makes, offers, serves and removes copies: one at a time."""

    def __init__(
        self,
        source: Source,
        keeper: LogKeeper,
        directory: Path,
        limits: CopyLimits | None = None,
        on_no_room: Callable[[int, str], None] = lambda _bytes, _node_id: None,
    ) -> None:
        """Take what is copied and where to; `on_no_room` is told how large a copy is for which there is no room."""
        self._on_no_room = on_no_room
        self._source = source
        self._keeper = keeper
        self._directory = directory
        self._limits = limits or CopyLimits()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._offer: Offer | None = None
        self._wanted_at_s = 0.0
        self._for = ""
        self._trouble = ""
        self._said_s = -_SAY_AGAIN_S
        clean(directory, _PREFIX)

    def serve(self, rpc: Rpc) -> None:
        """Let members fetch."""
        rpc.route("GET", RPC_PATH, self._answer)

    def offer(self, node_id: str) -> dict[str, Any] | None:
        """Return the offer for a node that needs a copy; None: one is being made. Never waits."""
        with self._lock:
            self._wanted_at_s = time.monotonic()
            if self._stopping.is_set():
                return None
            if self._thread is None:
                self._for = node_id
                self._thread = threading.Thread(target=self._run, name="snapshot-copy", daemon=True)
                self._thread.start()
            if self._offer is None:
                return None
            made: dict[str, Any] = msgspec.to_builtins(self._offer, builtin_types=(bytes,))
            return made

    def stop(self) -> None:
        """Give up what is being made and remove what there is."""
        self._stopping.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(10.0)

    # -- the thread of one copy

    def _run(self) -> None:
        path = self._directory / f"{_PREFIX}{secrets.token_hex(8)}"
        try:
            self._serve_one(path)
        except _Stopped:
            pass
        except (NodeError, OSError) as error:
            self._failed(str(error))
            self._stopping.wait(_RETRY_S)
        finally:
            with self._lock:
                self._thread = None

    def _serve_one(self, path: Path) -> None:
        """Make a copy and keep it while it is of use; the log is pinned meanwhile, and no longer."""
        size = self._source.path.stat().st_size
        try:
            check_room(self._directory, size)
        except DiskFull:
            self._on_no_room(size, self._for)
            raise
        try:
            self._keeper.pin_log(self._source.applied_index)
            offer = self._made(path)
            with self._lock:
                self._offer, self._trouble = offer, ""
                self._wanted_at_s = time.monotonic()
            log.info(
                "a copy of the rows at entry %d is ready for node %s: %d bytes",
                offer.start.index,
                self._for,
                offer.size,
            )
            self._keep()
        finally:
            with self._lock:
                self._offer = None
            path.unlink(missing_ok=True)
            with contextlib.suppress(NodeError):  # a log that is closed trims nothing
                self._keeper.pin_log(None)

    def _failed(self, reason: str) -> None:
        """Say that no copy can be made, but not all the time."""
        self._trouble = reason
        if time.monotonic() - self._said_s > _SAY_AGAIN_S:
            self._said_s = time.monotonic()
            log.error("no copy of the rows can be made for node %s: %s", self._for, reason)

    def health(self) -> list[tuple[str, bool, str]]:
        """Return what `hedgerow status` should say, nothing while nobody waits in vain."""
        if not self._trouble or time.monotonic() - self._wanted_at_s > _SAY_AGAIN_S:
            return []
        detail = f"node {self._for} needs a copy of this node's rows, which cannot be made: {self._trouble}"
        return [("copies", False, detail)]

    def _made(self, path: Path) -> Offer:
        index = self._source.snapshot_to(path, self._between)
        start = self._keeper.log_start(index)
        if start is None:
            raise NodeError(f"the log does not hold entry {index} any more")
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while data := file.read(1 << 20):
                self._between()
                digest.update(data)
        return Offer(
            name=path.name, size=path.stat().st_size, sha256=digest.hexdigest(), start=start
        )

    def _between(self) -> None:
        if self._stopping.wait(_STEP_PAUSE_S):
            raise _Stopped

    def _keep(self) -> None:
        """Wait until the copy is of no more use."""
        made_at_s = time.monotonic()
        while not self._stopping.wait(min(1.0, self._limits.idle_s / 4)):
            with self._lock:
                if self._is_useless(time.monotonic(), made_at_s):
                    self._offer = None  # nobody is sent to it any more
                    return

    def _is_useless(self, now_s: float, made_at_s: float) -> bool:
        return (
            now_s - self._wanted_at_s > self._limits.idle_s
            or now_s - made_at_s > self._limits.age_s
            or self._keeper.log_bytes > self._limits.log_bytes
        )

    # -- serving

    def _answer(self, request: RpcRequest) -> RpcReply:
        name, at = request.query.get("name", ""), request.query.get("offset", "")
        with self._lock:
            offer = self._offer
            self._wanted_at_s = time.monotonic()
        if offer is None or offer.name != name:
            raise NotFound(f"The copy {name[:64]!r} is not here any more: wait for another offer")
        if not at.isdecimal() or int(at) > offer.size:
            raise BadRequest(f"The copy has {offer.size} bytes, there is none at {at[:20]!r}")
        try:
            file = (self._directory / name).open("rb")
        except FileNotFoundError as error:
            raise NotFound(f"The copy {name} is not here any more") from error
        file.seek(int(at))
        return RpcReply(stream=file, length=min(RANGE_BYTES, offer.size - int(at)))


def clean(directory: Path, prefix: str) -> None:
    """Make the directory of copies and remove the files of that kind which an earlier process left."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in directory.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            path.unlink()
