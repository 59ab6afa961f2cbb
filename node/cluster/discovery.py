"""Nodes find each other on their link: one announcement by multicast DNS, and an ear for those of others.

Only on the management address: bridges and taps carry tenants' networks. What is heard here is a hint and nothing else;
whoever is found must still prove itself. Source: RFC 6762, RFC 6763.
"""

import contextlib
import hashlib
import logging
import queue
import socket
import threading
import time
from typing import Any

from node import __version__
from node.cluster.address import own_address
from node.cluster.address_book import AddressBook, Sighting
from node.config import ApiSection, ClusterSection, Config
from node.types import Frozen

log = logging.getLogger("hedgerow.discovery")

SERVICE_TYPE = "_hedgerow._tcp.local."
_LOOK_S = 5.0
ANEW_S = 10.0
"""How often a node in no cluster asks anew: the library's questions come ever more rarely, up to hours apart."""
_RESOLVE_MS = 1500
_CA_DIGITS = 16
_TWINS_SHOWN = 3
_HEARD_AT_MOST = 256
Wakes = queue.Queue[tuple[str, str] | None]
"""What was heard: (change, name of a service), or None for something else to look after."""


class Announcement(Frozen):
    """What this node says of itself."""

    cluster_id: str = ""
    """The cluster, or the one that its token names; empty: none."""
    ca: str = ""
    """Fingerprint of its CA, empty for a fresh node."""


class Discovery:
    """Announces this node and listens for others, from a thread of its own."""

    def __init__(
        self, config: Config, *, node_id: str, fingerprint: str, book: AddressBook, anew_s: float = ANEW_S
    ) -> None:  # fmt: skip
        self._anew_s = anew_s
        self._config = config
        self._section = config.section(ClusterSection)
        self._node_id = node_id
        self._fingerprint = fingerprint
        self._book = book
        self._said = Announcement()
        self._wake: Wakes = queue.Queue(_HEARD_AT_MOST)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless the configuration wants silence or this node has no cluster port."""
        if self._section.discovery and self._section.port and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="discovery", daemon=True)
            self._thread.start()

    def announce(self, said: Announcement) -> None:
        """Say something else from now on."""
        if said != self._said:
            self._said = said
            _tell(self._wake, None)

    def stop(self) -> None:
        """Say goodbye and stop."""
        self._stopped.set()
        _tell(self._wake, None)
        if self._thread is not None:
            self._thread.join(10)

    def twins(self) -> list[Sighting]:
        """Return those who announce this node's cluster with another CA: there must be none."""
        said = self._said
        if not said.ca:
            return []
        digest = cluster_digest(said.cluster_id)
        return [
            one
            for one in self._book.sightings()
            if one.digest == digest and one.ca and one.ca != said.ca[:_CA_DIGITS]
        ]

    def health(self) -> list[tuple[str, bool, str]]:
        """Return a line of `hedgerow status` when something is wrong."""
        twins = self.twins()
        if not twins:
            return []
        where = ", ".join(f"{one.node_id} at {one.host}" for one in twins[:_TWINS_SHOWN])
        text = (
            f"another cluster has this one's id: {where}. More machines than its founders had "
            "the token before they met: keep one, empty the state directories of the other"
        )
        return [("other cluster", False, text)]

    def _run(self) -> None:
        session: _Session | None = None
        while not self._stopped.is_set():
            address = own_address(self._config)
            try:
                if session is not None and session.address != address:
                    session.close()
                    session = None
                if session is None and address:
                    log.info("nodes are looked for on %s", address)
                    session = _Session(address, self._wake)
                if session is not None:
                    session.publish(self._record())
                    if not self._said.ca:
                        session.ask_anew(self._anew_s)
            except Exception as error:  # noqa: BLE001 - the library raises what its sockets and parsers do
                log.warning("multicast DNS on %s: %s; tried again", address, error)
            self._listen(session)
        if session is not None:
            session.close()

    def _listen(self, session: "_Session | None") -> None:
        """Take what is heard until it is time to look after the address again."""
        try:
            heard = self._wake.get(timeout=min(_LOOK_S, self._anew_s))
        except queue.Empty:
            return
        while heard is not None and session is not None and not self._stopped.is_set():
            change, name = heard
            node_id = name.removesuffix("." + SERVICE_TYPE)
            if change == "Removed":
                self._book.unsee(node_id)
            elif node_id != self._node_id:
                found = session.resolve(name)
                if found is not None:
                    self._book.see(found)
            try:
                heard = self._wake.get_nowait()
            except queue.Empty:
                return

    def _record(self) -> tuple[str, int, dict[str, str]]:
        said = self._said
        return (
            self._node_id,
            self._section.port,
            {
                "v": "1",
                "cluster": cluster_digest(said.cluster_id),
                "fp": self._fingerprint,
                "api": str(self._config.section(ApiSection).port),
                "ca": said.ca[:_CA_DIGITS],
                "version": __version__,
            },
        )


class _Session:
    """The library on one address."""

    def __init__(self, address: str, heard: Wakes) -> None:
        import zeroconf  # late: a node that stays alone does not pay for it

        self.address = address
        self._library: Any = zeroconf
        self._zeroconf = zeroconf.Zeroconf(interfaces=[address])
        self._published: Any = None

        def on_change(*, name: str, state_change: Any, **_rest: Any) -> None:
            _tell(heard, (state_change.name, name))

        # The ear first: announcing takes a second and a half.
        self._on_change = on_change
        self._browser = self._asking()

    def _asking(self) -> Any:
        self._asked_s = time.monotonic()
        return self._library.ServiceBrowser(self._zeroconf, SERVICE_TYPE, handlers=[self._on_change])

    def ask_anew(self, pause_s: float) -> None:
        """Ask who is there as if for the first time, unless that was done a moment ago."""
        if time.monotonic() - self._asked_s >= pause_s:
            before, self._browser = self._browser, self._asking()
            before.cancel()

    def publish(self, record: tuple[str, int, dict[str, str]]) -> None:
        node_id, port, text = record
        info = self._library.ServiceInfo(
            SERVICE_TYPE,
            f"{node_id}.{SERVICE_TYPE}",
            addresses=[_packed(self.address)],
            port=port,
            properties=text,
            server=f"{node_id}.local.",
        )
        if self._published is None:
            self._zeroconf.register_service(info)
        elif self._published[1] != record:
            self._zeroconf.update_service(info)
        self._published = (info, record)

    def resolve(self, name: str) -> Sighting | None:
        info = self._zeroconf.get_service_info(SERVICE_TYPE, name, timeout=_RESOLVE_MS)
        if info is None or not info.port or not info.parsed_addresses():
            return None
        text = {
            key.decode("ascii", "replace"): (value or b"").decode("ascii", "replace")
            for key, value in info.properties.items()
        }
        return Sighting(
            node_id=name.removesuffix("." + SERVICE_TYPE),
            host=info.parsed_addresses()[0],
            port=info.port,
            digest=text.get("cluster", "")[:64],
            ca=text.get("ca", "")[:_CA_DIGITS],
        )

    def close(self) -> None:
        try:
            self._zeroconf.close()
        except Exception as error:  # noqa: BLE001 - as above; it is over anyway
            log.info("multicast DNS on %s ended: %s", self.address, error)


def cluster_digest(cluster_id: str) -> str:
    """Return what is announced of a cluster's id: enough to know it again. Empty for none."""
    if not cluster_id:
        return ""
    return hashlib.sha256(b"hedgerow cluster " + cluster_id.encode()).hexdigest()[:32]


def _tell(wakes: Wakes, what: tuple[str, str] | None) -> None:
    """Leave word; whoever shouts too much is not heard."""
    with contextlib.suppress(queue.Full):
        wakes.put_nowait(what)


def _packed(address: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address)
