"""The parts of a node that exist only among others, put together: links, discovery, joining, leases, copies.

A node that stays alone (`[cluster] port = 0`) has none of them, and imports none.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from node.clock import SystemClock
from node.cluster.address import own_address
from node.cluster.address_book import AddressBook
from node.cluster.admission import Admission
from node.cluster.consensus import Consensus
from node.cluster.discovery import Announcement, Discovery
from node.cluster.door import Door
from node.cluster.fetch import Exchange, Fetcher, RpcRanges
from node.cluster.formation import Formation, Membership
from node.cluster.founding import Certificates
from node.cluster.join import ca_fingerprint
from node.cluster.liveness import Liveness, LogAccess
from node.cluster.log_view import ConsensusView
from node.cluster.lookout import look_around
from node.cluster.membership import Controller, MembershipRules, remove
from node.cluster.peers import PeerNetwork
from node.cluster.recover import Later, epoch_of, write_later
from node.cluster.relief import Relief
from node.cluster.roster import member_row
from node.cluster.rpc import Rpc
from node.cluster.self_claim import seeds_of
from node.cluster.snapshot import Copies
from node.cluster.standing import PROTOCOL as STANDING_PROTOCOL
from node.cluster.standing import LogStanding, Standing
from node.cluster.streams import PeerStreams
from node.cluster.vip import VirtualAddress
from node.config import ClusterSection, Config
from node.control.placement import NodeRow
from node.ids import Ids
from node.state.machine import Machine
from node.state.reader import Readers
from node.state.row import Row
from node.state.txn import AnyOp, Outcome

Command = Callable[..., object]
Check = tuple[str, bool, str]
"""Name, whether it is well, and a sentence: a line of `hedgerow status`."""


class Assembly:
    """Everything of one node that knows of other nodes, but for the log itself."""

    def __init__(
        self,
        *,
        config: Config,
        node_id: str,
        directory: Path,
        certificates: Certificates,
        readers: Readers,
        ids: Ids,
    ) -> None:
        self._config = config
        section = self._section = config.section(ClusterSection)
        self._node_id = node_id
        self._directory = directory
        self._certificates = certificates
        self._readers = readers
        self._ids = ids
        self._clock = SystemClock()
        self.book = AddressBook(directory, db=readers.reader)
        self.peers = PeerNetwork(
            node_id=node_id,
            credentials=certificates.trust.credentials,
            addresses=self.book,
            is_member=self._is_member,
            listen=(section.listen, section.port),
            unreachable=self.book.unreachable,
        )
        self.rpc = Rpc(self.peers)
        self.streams = PeerStreams(self.peers)
        self.discovery = Discovery(
            config, node_id=node_id, fingerprint=certificates.trust.fingerprint, book=self.book
        )
        self._door = Door(
            node_id=node_id, trust=certificates.trust, peers=self.peers, clock=self._clock
        )
        self._formation = Formation(
            config=config,
            node_id=node_id,
            trust=certificates.trust,
            peers=self.peers,
            book=self.book,
            door=self._door,
            clock=self._clock,
            ids=ids,
        )
        self._liveness: Liveness | None = None
        self._controller: Controller | None = None
        self._virtual: VirtualAddress | None = None
        self._is_forming = False
        self._copies: Copies | None = None
        self._fetcher: Fetcher | None = None
        self._standing: Standing | None = None
        self._relief: Relief | None = None

    def open(self) -> None:
        """Listen, and look for others.

        Raises:
            Unavailable: 503, the port cannot be listened on.
        """
        self._door.serve()
        self.peers.start()
        self.discovery.announce(Announcement(cluster_id=self._formation.cluster_id))
        self.discovery.start()

    def form(self, stopping: threading.Event) -> Membership | None:
        """Wait until this fresh node is a founder or a member; None when it is to stop before."""
        self._is_forming = True
        membership = self._formation.run(stopping)
        self._is_forming = False
        self.peers.reload()
        return membership

    def attach(
        self, consensus: Consensus, machine: Machine, on_restored: Callable[[], None]
    ) -> None:
        """Give the log its way to copies of the rows. Before the log starts."""
        self._relief = Relief(self.rpc, consensus, self._directory)
        self._copies = Copies(
            machine, consensus, self._directory / "copies", on_no_room=self._relief.lacks
        )
        self._copies.serve(self.rpc)
        self._fetcher = Fetcher(
            machine,
            consensus,
            RpcRanges(self.rpc),
            self._directory / "copies",
            on_restored=on_restored,
        )
        consensus.members = lambda: [row.id for row in self._readers.reader().rows(NodeRow)]
        consensus.snapshots = Exchange(self._copies.offer, self._fetcher)
        self._standing = Standing(
            node_id=self._node_id,
            epoch=epoch_of(self._directory),
            network=self.peers,
            db=self._readers.reader,
            own=lambda: self._log_standing(consensus),
            on_later=self._give_way,
            evict=consensus.disconnect,
        )
        self._standing.look_around = self._look_around
        self._standing.serve()

    def watch(self) -> None:
        """Ask others from time to time how this node stands. Once the log runs."""
        for part in (self._standing, self._relief):
            if part is not None:
                part.start()

    def _log_standing(self, consensus: Consensus) -> LogStanding:
        found = consensus.status()
        own = (self._node_id,) if found.is_voter else ()
        return LogStanding(
            voters=(*own, *(voter.node_id for voter in found.voters)),
            follows=found.leader_id is not None and found.has_quorum,
        )

    def _look_around(self) -> None:
        """Look at the seeds for members that are not where their rows say."""
        look_around(
            seeds_of(self._section), self.peers, STANDING_PROTOCOL, self._key_of, self.book
        )

    def _key_of(self, node_id: str) -> str:
        row = member_row(self._readers.reader(), node_id)
        return row.fingerprint if row is not None else ""

    def _give_way(self, later: Later) -> None:
        """Have this process end; the next one gives up log and rows before it opens them."""
        write_later(self._directory, later)
        os.kill(os.getpid(), signal.SIGTERM)

    def admit(self, propose: Callable[..., Outcome]) -> None:
        """Let strangers in who prove that they may come. Once the rows are there."""
        admission = Admission(db=self._readers.reader, propose=propose, clock=self._clock)
        self._door.open(admission)
        ca = ca_fingerprint(self._certificates.trust.ca_pem)
        self.discovery.announce(Announcement(cluster_id=admission.cluster_id, ca=ca))

    def take_part(
        self,
        consensus: Consensus,
        on_lease: Callable[[], None],
        row_types: Sequence[type[Row]],
    ) -> Callable[[], bool]:
        """Begin what a member does: ask for leases, grant them, keep the voters, hold the virtual address.

        `on_lease` is told when this node's lease is lost or regained. Return what says whether there is one.
        """
        live = Liveness(
            node_id=self._node_id,
            access=LogAccess(
                leader=lambda: consensus.status().leader_id,
                confirm=consensus.confirm,
                propose=consensus.propose,
                db=self._readers.reader,
            ),
            rpc=self.rpc,
            clock=self._clock,
            ids=self._ids,
            on_change=lambda _is_valid: self._lease_changed(on_lease),
            lease_clock=self._clock.boottime_s,
        )
        controller = Controller(
            node_id=self._node_id,
            voter_log=ConsensusView(self._node_id, consensus),
            db=self._readers.reader,
            propose=consensus.propose,
            clock=self._clock,
            ids=self._ids,
            row_types=row_types,
            rules=MembershipRules(
                most_voters=self._section.voters,
                lost_after_s=float(self._section.replace_after_s),
            ),
        )
        if self._section.virtual_address:
            self._virtual = VirtualAddress(
                self._section.virtual_address,
                own_address(self._config),
                is_due=lambda: live.is_valid() and _leads(consensus),
            )
        self._liveness, self._controller = live, controller
        for part in (live, controller, self._virtual):
            if part is not None:
                part.start()
        return live.is_valid

    def _lease_changed(self, on_lease: Callable[[], None]) -> None:
        if self._virtual is not None:
            self._virtual.wake()
        on_lease()

    def withdraw(self) -> None:
        """Give up what only a member may hold; the log still runs."""
        for part in (self._virtual, self._controller, self._liveness):
            if part is not None:
                part.stop()

    def stop(self) -> None:
        """Stop the rest; the log has stopped."""
        for part in (self._standing, self._relief, self._fetcher, self._copies):
            if part is not None:
                part.stop()
        self.discovery.stop()
        self.rpc.close()
        self.peers.stop()

    def forget(self) -> None:
        """Take from this machine what this node may have left on it. The node does not run."""
        if self._section.virtual_address:
            VirtualAddress(
                self._section.virtual_address, own_address(self._config), is_due=lambda: False
            ).forget()

    def health(self) -> list[Check]:
        """Return lines of `hedgerow status`."""
        parts = [part for part in (self._liveness, self._controller, self._virtual) if part]
        checks = self._standing.health() if self._standing is not None else []
        checks += self._fetcher.health() if self._fetcher is not None else []
        checks += self._copies.health() if self._copies is not None else []
        if not parts:
            return [*checks, *(self._formation.status() if self._is_forming else [])]
        return [*checks, *(part.health() for part in parts), *self.discovery.health()]

    def remember(self) -> None:
        """Keep in mind where the others are, for a start without any of them."""
        self.book.remember()

    def commands(self, propose: Callable[[bytes, float], bytes]) -> dict[str, Command]:
        """Return the administrator's commands that concern the members."""
        db, clock, ids = self._readers.reader, self._clock, self._ids
        return {"node_remove": lambda node: {"id": remove(db(), propose, clock, ids, node).id}}

    def first_rows(self) -> list[AnyOp]:
        """Return what a founder begins its cluster with, its token among it; nothing once it is there."""
        if self._certificates.trust.founded() is None:
            return []
        return self._certificates.first_rows(self._ids, self._formation.token())

    def _is_member(self, node_id: str, fingerprint: str) -> bool:
        db = self._readers.reader()
        row = member_row(db, node_id)
        if row is not None:
            return row.fingerprint == fingerprint
        # Who has not read of its own admission yet cannot know the others: there the CA vouches for them.
        return db.get(NodeRow, self._node_id) is None


def _leads(consensus: Consensus) -> bool:
    found = consensus.status()
    return found.role == "leader" and found.has_quorum
