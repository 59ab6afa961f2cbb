"""Fresh nodes and small clusters on loopback, over real TLS: all of formation but the log."""

import contextlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from node.clock import SystemClock
from node.cluster.address_book import AddressBook
from node.cluster.admission import Admission
from node.cluster.door import Door
from node.cluster.formation import Formation, Membership
from node.cluster.founding import Certificates
from node.cluster.peers import Address, PeerNetwork
from node.cluster.token import Token
from node.cluster.trust import Trust
from node.config import ClusterSection, Config, NodeSection
from node.errors import NodeError
from node.ids import RandomIds
from tests.unit.cluster.rows import Rows

LOOPBACK = "127.0.0.1"


class Machine:
    """One node: its port, its door, and the rows if it founds."""

    def __init__(
        self,
        directory: Path,
        *,
        token: Token | None = None,
        alone: bool = False,
        seeds: Iterable[Address] = (),
        rows: Rows | None = None,
        node_id: str = "",
        place: Address = (LOOPBACK, 0),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._host = place[0]
        self.node_id = node_id or RandomIds().uuid()
        self.rows = rows or Rows(directory / "state.db")
        if token:
            (directory / "token").write_text(token.text)
        self.clock = SystemClock()
        self.trust = Trust(directory / "tls", self.node_id, self.clock)
        self.book = AddressBook(directory, lambda: self.rows.db)
        self.peers = PeerNetwork(
            node_id=self.node_id,
            credentials=self.trust.credentials,
            addresses=self.book,
            listen=place,
        )
        self.door = Door(node_id=self.node_id, trust=self.trust, peers=self.peers, clock=self.clock)
        self.door.serve()
        self.peers.start()
        self.config = Config(
            {
                "node": NodeSection(name=directory.name, state_dir=str(directory)),
                "cluster": ClusterSection(
                    port=self.peers.port,
                    address=place[0],
                    alone=alone,
                    token_file=str(directory / "token") if token else "",
                    seeds=",".join(f"{host}:{port}" for host, port in seeds),
                ),
            }
        )
        self.certificates = Certificates(self.trust, self.config, self.clock, lambda: self.rows.db)
        self.stopping = threading.Event()
        self.formation: Formation | None = None
        self.membership: Membership | None = None
        self.error: NodeError | None = None
        self._on_founded: Callable[[], object] = lambda: None
        self.thread = threading.Thread(target=self._run, daemon=True)

    @property
    def address(self) -> Address:
        """Return where its port is."""
        return self._host, self.peers.port

    def begin(self, on_founded: Callable[[], object] = lambda: None) -> None:
        """Start to look for a cluster; `on_founded` is told before anyone is admitted."""
        self._on_founded = on_founded
        self.formation = Formation(
            config=self.config,
            node_id=self.node_id,
            trust=self.trust,
            peers=self.peers,
            book=self.book,
            door=self.door,
            clock=self.clock,
            ids=RandomIds(),
        )
        self.thread.start()

    def _run(self) -> None:
        assert self.formation is not None
        try:
            self.membership = self.formation.run(self.stopping)
        except NodeError as error:
            self.error = error
        if self.membership is not None:
            self.peers.reload()
            if self.membership.is_founder:
                self.lead()

    def lead(self) -> None:
        """Commit the first rows, as the founder's core does, and admit others."""
        assert self.membership is not None
        ops = self.certificates.first_rows(RandomIds(), self.membership.token)
        if ops:
            self.rows.commit(*ops)
        self.certificates.keep()
        self._on_founded()
        self.open()

    def open(self) -> None:
        """Answer as a member."""
        self.door.open(
            Admission(db=lambda: self.rows.db, propose=self.rows.propose, clock=self.clock)
        )

    def wait(self, timeout_s: float = 60.0) -> Membership:
        """Return its membership, or fail the test."""
        self.thread.join(timeout_s)
        if self.error:
            raise self.error
        assert self.membership is not None, self.formation and self.formation.status()
        return self.membership

    def stop(self) -> None:
        """Close everything."""
        self.stopping.set()
        if self.thread.ident is not None:
            self.thread.join(30)
        with contextlib.suppress(NodeError):
            self.peers.stop()
