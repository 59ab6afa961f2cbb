"""A leader whose disk is short of room leaves the leadership to a voter that has it.

Without that a full disk of one node would keep all from writing, and a node that needs a copy of the rows would wait
for it for as long as its leader has no room to make one. Whoever is asked looks at its own disk and answers for itself;
when nobody has room the leader stays, since it is as good as any other one.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from node.cluster.rpc import Answer, RpcReply, RpcRequest
from node.cluster.space import check_room
from node.cluster.status import Status
from node.errors import BadRequest, DiskFull, NodeError

log = logging.getLogger("hedgerow.relief")

ROOM_PATH = "/cluster/room"
_PERIOD_S = 0.5
_PAUSE_S = 5.0
_ASK_S = 1.5
_LIVE_S = 3.0


class Asking(Protocol):
    """The part of Rpc that is needed."""

    def route(self, method: str, path: str, answer: Answer) -> None:
        """Serve a path."""

    def call(
        self, node_id: str, method: str, path: str, *, query: dict[str, str], timeout_s: float
    ) -> RpcReply:
        """Ask a member."""


class VoterLog(Protocol):
    """What is needed of the log."""

    def status(self) -> Status:
        """Return where this node stands."""

    def transfer_leadership(self, node_id: str | None, callback: Callable[[str], None]) -> None:
        """Have another voter lead; the callback gets an error, empty when it was done."""


class Relief:
    """Asks the voters for room when this node leads and has none."""

    def __init__(self, rpc: Asking, voter_log: VoterLog, directory: Path) -> None:
        self._rpc = rpc
        self._log = voter_log
        self._directory = directory
        self._lacking = 0
        self._lacking_for = ""
        self._not_before_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relief", daemon=True)
        rpc.route("GET", ROOM_PATH, self._answer)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_ASK_S * 4)

    def lacks(self, size_bytes: int, node_id: str) -> None:
        """Note that this node has no room for a copy of that size, which another one needs. Thread-safe."""
        self._lacking, self._lacking_for = size_bytes, node_id

    def _run(self) -> None:
        while not self._stopping.wait(_PERIOD_S):
            try:
                self.step(time.monotonic())
            except Exception:
                log.exception("the room of the others cannot be looked at")

    def step(self, now_s: float) -> str:
        """Hand the leadership over if that is due, and return to whom; empty: it stays."""
        found = self._log.status()
        size = self._lacking
        if found.role != "leader" or not (size or found.disk_full):
            self._lacking = 0
            return ""
        if now_s < self._not_before_s:
            return ""
        self._lacking, self._not_before_s = 0, now_s + _PAUSE_S
        for voter in sorted(found.voters, key=lambda one: -one.match_index):
            is_live = voter.contact_age_s is not None and voter.contact_age_s < _LIVE_S
            if is_live and voter.node_id != self._lacking_for and self._has_room(voter.node_id, size):
                what = f"a copy of {size >> 20} MiB" if size else "the log"
                log.warning("no room for %s here: node %s has it and is to lead", what, voter.node_id)
                self._log.transfer_leadership(voter.node_id, _told)
                return voter.node_id
        return ""

    def _has_room(self, node_id: str, size: int) -> bool:
        try:
            answer = self._rpc.call(
                node_id, "GET", ROOM_PATH, query={"bytes": str(size)}, timeout_s=_ASK_S
            )
        except NodeError:
            return False
        return answer.status == 200

    def _answer(self, request: RpcRequest) -> RpcReply:
        size = request.query.get("bytes", "")
        if not (size.isdecimal() and len(size) < 16):
            raise BadRequest(f"{size[:20]!r} is no number of bytes")
        if self._log.status().disk_full:
            raise DiskFull(f"The disk of {self._directory} is full")
        check_room(self._directory, int(size))
        return RpcReply()


def _told(error: str) -> None:
    if error:
        log.info("the leadership was not handed over: %s", error)
