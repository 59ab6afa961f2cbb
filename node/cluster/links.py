"""One link to each other node, for messages about the log, served by the loop thread's poller.

Hard part: nothing here may block the loop. Links are dialed in threads of their own and arrive through a queue; sends
go into a bounded buffer. Two nodes may dial each other at the same moment: both keep the link that the lesser id
dialed. A link on which nothing came for a while is dead, whatever TCP thinks of it: after a cut TCP would wait for tens
of seconds.
"""

import contextlib
import logging
import os
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from pysyncobj.poller import POLL_EVENT_TYPE

import node.cluster.undamaged  # noqa: F401 - see there
from node.cluster.messages import Message, decode, encode, take_frames
from node.cluster.peers import Handler, Link
from node.cluster.poller import EpollPoller
from node.cluster.settings import RaftSettings
from node.cluster.wire import FrameError
from node.errors import NodeError

PROTOCOL = "hedgerow-raft"

_READ_BYTES = 256 * 1024
_READS_PER_EVENT = 16
_CHUNK_BYTES = 128 * 1024
_CHOKED_BYTES = 8 * 1024 * 1024
_EASED_BYTES = 1024 * 1024
_MOST_UNSENT_BYTES = 32 * 1024 * 1024
_DIAL_TIMEOUT_S = 1.0
_DIAL_PAUSE_S = 0.3
_SECOND_DIALER_S = 1.0
_PING_S = 0.7
_SILENCE_S = 2.5
_PING = encode({"type": "ping"})

_log = logging.getLogger(__name__)


class Network(Protocol):
    """What is needed of `PeerNetwork`."""

    def serve(self, protocol: str, handler: Handler, *, witnesses: bool = False) -> None:
        """Have a handler called for each link of a protocol."""

    def dial(self, node_id: str, protocol: str, timeout_s: float = 1.0) -> Link:
        """Connect to a member."""


class Receiver(Protocol):
    """Whom the links tell what happens. Called in the loop thread."""

    def link_up(self, node_id: str) -> None:
        """Learn that messages can be exchanged with a node."""

    def link_down(self, node_id: str, *, broken: bool) -> None:
        """Learn that they cannot any more; not `broken` when a better link is about to follow."""

    def received(self, node_id: str, message: Message) -> None:
        """Take a message."""

    def drained(self) -> None:
        """Learn that all that had come was handed over."""

    def choked(self, node_id: str, *, choked: bool) -> None:
        """Learn that a node takes messages too slowly, or does no more so."""


class _Open:
    """One link that is open."""

    __slots__ = ("choked", "dialed", "heard_s", "link", "mask", "received", "sent_s", "unsent")

    def __init__(self, link: Link, *, dialed: bool, now_s: float) -> None:
        self.link = link
        self.dialed = dialed
        self.received = bytearray()
        self.unsent = bytearray()
        self.mask = -1
        self.choked = False
        self.heard_s = self.sent_s = now_s


class Links:
    """All links of one node. Used from the loop thread only, but for what the network calls."""

    def __init__(self, settings: RaftSettings, network: Network, poller: EpollPoller) -> None:
        self._node_id = settings.node_id
        self._protocol = f"{PROTOCOL}/{settings.epoch}"
        self._network = network
        self._poller = poller
        self._receiver: Receiver | None = None
        self._open: dict[str, _Open] = {}
        self._wanted: set[str] = set()
        self._missing_since_s: dict[str, float] = {}
        self._dialing: set[str] = set()
        self._dial_after_s: dict[str, float] = {}
        self._arrived: deque[tuple[Link, bool]] = deque()
        self._failed: deque[str] = deque()
        self._door = threading.Lock()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def start(self, receiver: Receiver) -> None:
        """Take links from now on."""
        self._receiver = receiver
        self._poller.subscribe(self._bell, self._on_bell, POLL_EVENT_TYPE.READ)
        self._network.serve(self._protocol, self._accepted, witnesses=True)

    def want(self, node_ids: set[str]) -> None:
        """Keep a link to each of these nodes; links that others made stay as they are."""
        self._wanted = node_ids - {self._node_id}
        self._missing_since_s = {
            node_id: since_s
            for node_id, since_s in self._missing_since_s.items()
            if node_id in self._wanted
        }

    def is_up(self, node_id: str) -> bool:
        """Say whether there is a link to a node."""
        return node_id in self._open

    def tick(self, now_s: float, *, eager: bool) -> None:
        """Dial who is missing, show that this node lives, end links that are silent.

        `eager`: dial whatever the ids say, as a learner does whom the others do not know.
        """
        for node_id in self._wanted:
            if node_id not in self._open and node_id not in self._dialing:
                self._consider_dial(node_id, now_s, eager=eager)
        for node_id, one in list(self._open.items()):
            if now_s - one.heard_s > _SILENCE_S:
                _log.info("Nothing came from node %s for %.1f s", node_id, _SILENCE_S)
                self._end(node_id)
            elif now_s - one.sent_s > _PING_S:
                self._put(node_id, one, _PING)

    def refresh(self, now_s: float) -> None:
        """Forgive all silence: this process was the one that stood still."""
        for one in self._open.values():
            one.heard_s = now_s

    def send(self, node_id: str, message: Message) -> bool:
        """Send, or keep for sending; False when there is no link."""
        one = self._open.get(node_id)
        return one is not None and self._put(node_id, one, encode(message))

    def drop(self, node_id: str) -> None:
        """End the link to a node, if there is one; it may come back when the network lets it."""
        if node_id in self._open:
            self._end(node_id)

    def close(self) -> None:
        """End all links, silently."""
        with self._door:
            bell, self._bell = self._bell, -1
        if bell >= 0:
            self._poller.unsubscribe(bell)
            os.close(bell)
        self._receiver = None
        for node_id in list(self._open):
            self._end(node_id)
        while self._arrived:
            self._arrived.popleft()[0].close()

    # -- dialing

    def _consider_dial(self, node_id: str, now_s: float, *, eager: bool) -> None:
        since_s = self._missing_since_s.setdefault(node_id, now_s)
        is_turn = eager or self._node_id < node_id or now_s - since_s > _SECOND_DIALER_S
        if is_turn and now_s >= self._dial_after_s.get(node_id, 0.0):
            self._dialing.add(node_id)
            self._dial_after_s[node_id] = now_s + _DIAL_PAUSE_S
            threading.Thread(
                target=self._dial, args=(node_id,), name="raft-dial", daemon=True
            ).start()

    def _dial(self, node_id: str) -> None:
        try:
            link = self._network.dial(node_id, self._protocol, _DIAL_TIMEOUT_S)
        except (NodeError, OSError) as error:
            _log.debug("No link to node %s: %s", node_id, error)
            self._ring(lambda: self._failed.append(node_id))
            return
        if not self._ring(lambda: self._arrived.append((link, True))):
            link.close()

    def _accepted(self, link: Link) -> bool:
        return self._ring(lambda: self._arrived.append((link, False)))

    def _ring(self, note: Callable[[], None]) -> bool:
        with self._door:
            if self._bell < 0:
                return False
            note()
            os.eventfd_write(self._bell, 1)
        return True

    def _on_bell(self, _: int, __: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        while self._failed:
            self._dialing.discard(self._failed.popleft())
        while self._arrived:
            link, dialed = self._arrived.popleft()
            if dialed:
                self._dialing.discard(link.node_id)
            self._take(link, dialed=dialed)

    def _take(self, link: Link, *, dialed: bool) -> None:
        node_id, now_s = link.node_id, time.monotonic()
        present = self._open.get(node_id)
        if node_id in {self._node_id, ""}:
            link.close()
            return
        if present is not None:
            lesser_dialed = (self._node_id < node_id) is present.dialed
            if dialed is not present.dialed and lesser_dialed and self._is_lively(present, now_s):
                link.close()
                return
            self._end(node_id, broken=False)
        link.socket.setblocking(False)
        self._open[node_id] = one = _Open(link, dialed=dialed, now_s=now_s)
        self._missing_since_s.pop(node_id, None)
        self._watch(node_id, one)
        if self._receiver is not None:
            self._receiver.link_up(node_id)
        if one.mask >= 0:
            self._read(node_id, one)  # TLS may hold what came with the handshake

    @staticmethod
    def _is_lively(one: _Open, now_s: float) -> bool:
        return now_s - one.heard_s < 2 * _PING_S

    # -- the sockets

    def _watch(self, node_id: str, one: _Open) -> None:
        mask = POLL_EVENT_TYPE.READ | (POLL_EVENT_TYPE.WRITE if one.unsent else 0)
        if mask != one.mask:
            one.mask = mask
            self._poller.subscribe(
                one.link.socket.fileno(), lambda _, event: self._on_event(node_id, one, event), mask
            )

    def _on_event(self, node_id: str, one: _Open, event: int) -> None:
        if event & POLL_EVENT_TYPE.WRITE:
            self._flush(node_id, one)
        if event & (POLL_EVENT_TYPE.READ | POLL_EVENT_TYPE.ERROR) and one.mask >= 0:
            self._read(node_id, one)

    def _read(self, node_id: str, one: _Open) -> None:
        ended = False
        try:
            for _ in range(_READS_PER_EVENT):
                data = one.link.socket.recv(_READ_BYTES)
                if not data:
                    ended = True
                    break
                one.received += data
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except (OSError, ValueError):
            ended = True
        one.heard_s = time.monotonic()
        try:
            self._hand_over(node_id, one)
        except FrameError as error:
            _log.warning("The link to node %s is ended: %s", node_id, error)
            ended = True
        if ended and self._open.get(node_id) is one:
            self._end(node_id)

    def _hand_over(self, node_id: str, one: _Open) -> None:
        bodies = take_frames(one.received)
        for body in bodies:
            message = decode(body)
            if self._receiver is None or one.mask < 0:
                return
            if message["type"] != "ping":
                self._receiver.received(node_id, message)
        if bodies and self._receiver is not None:
            self._receiver.drained()

    def _put(self, node_id: str, one: _Open, frame: bytes) -> bool:
        one.unsent += frame
        one.sent_s = time.monotonic()
        self._flush(node_id, one)
        return one.mask >= 0

    def _flush(self, node_id: str, one: _Open) -> None:
        try:
            while one.unsent:
                # A chunk that TLS refused must be offered again at least as long: chunks only grow.
                del one.unsent[: one.link.socket.send(bytes(one.unsent[:_CHUNK_BYTES]))]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except (OSError, ValueError):
            self._end_later(one)
            return
        if len(one.unsent) > _MOST_UNSENT_BYTES:
            _log.warning("Node %s takes too little: its link is ended", node_id)
            self._end_later(one)
            return
        self._watch(node_id, one)
        limit = _EASED_BYTES if one.choked else _CHOKED_BYTES
        if (len(one.unsent) > limit) is not one.choked:
            one.choked = not one.choked
            if self._receiver is not None:
                self._receiver.choked(node_id, choked=one.choked)

    def _end_later(self, one: _Open) -> None:
        """End a link after the call that found it broken: the caller may be deep inside the library."""
        one.unsent.clear()
        one.heard_s = 0.0
        self._ring(lambda: None)

    def _end(self, node_id: str, *, broken: bool = True) -> None:
        one = self._open.pop(node_id)
        if one.mask >= 0:
            self._poller.unsubscribe(one.link.socket.fileno())
        one.mask = -1
        one.link.close()
        self._dial_after_s[node_id] = 0.0
        if self._receiver is not None:
            self._receiver.link_down(node_id, broken=broken)
