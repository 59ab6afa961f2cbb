"""A node of a cluster of bare logs: the real row store behind the real log and the real links. Run as a program.

`rows_node.py JSON`: see RowsNode. Says `ready`, then goes on until it is killed.
"""

import logging
import sqlite3
import sys
import time
from pathlib import Path

import msgspec

from node.clock import SystemClock
from node.cluster import journal
from node.cluster.client import SOCKET_FILE
from node.cluster.consensus import Consensus
from node.cluster.fetch import Exchange, Fetcher, RpcRanges
from node.cluster.log_file import open_file
from node.cluster.log_view import ConsensusView
from node.cluster.membership import Controller, MembershipRules
from node.cluster.peers import Credentials, PeerNetwork
from node.cluster.relief import Relief
from node.cluster.rpc import Rpc
from node.cluster.settings import RaftSettings
from node.cluster.snapshot import Copies
from node.control.placement import NodeRow
from node.ids import RandomIds
from node.state.machine import Machine
from node.state.reader import STATE_FILE, Readers
from node.types import Frozen


class RowsNode(Frozen):
    """What a node is told."""

    place: str
    settings: RaftSettings
    certificate: str
    key: str
    ca: str
    book: dict[str, tuple[str, int]]
    """All who may ever be members."""
    rules: MembershipRules
    forgets: bool = False
    """Do not sync the log, as a broken product would: for the trial of the drill itself."""


def forgetful(path: Path) -> sqlite3.Connection:
    db = open_file(path)
    db.execute("PRAGMA synchronous=OFF")
    return db


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    told = msgspec.json.decode(sys.argv[1], type=RowsNode)
    place = Path(told.place)
    place.mkdir(exist_ok=True)
    node_id = told.settings.node_id
    files = Credentials(certificate=Path(told.certificate), key=Path(told.key), ca=Path(told.ca))
    peers = PeerNetwork(
        node_id=node_id,
        credentials=lambda: files,
        addresses=told.book.get,
        is_member=lambda one, _fingerprint: one in told.book,
        listen=told.book[node_id],
    )
    rpc = Rpc(peers)
    machine = Machine(place / STATE_FILE)
    others = {"peers": peers} if len(told.book) > 1 else {}
    if told.forgets:
        journal.open_file = forgetful
    consensus = Consensus(machine, place / "log", place / SOCKET_FILE, told.settings, **others)
    relief = Relief(rpc, consensus, place)
    copies = Copies(machine, consensus, place / "snapshots", on_no_room=relief.lacks)
    copies.serve(rpc)
    fetcher = Fetcher(machine, consensus, RpcRanges(rpc), place / "snapshots")
    consensus.snapshots = Exchange(copies.offer, fetcher)
    readers = Readers(place / STATE_FILE)
    consensus.members = lambda: [row.id for row in readers.reader().rows(NodeRow)]
    controller = Controller(
        node_id=node_id,
        voter_log=ConsensusView(node_id, consensus),
        db=readers.reader,
        propose=consensus.propose,
        clock=SystemClock(),
        ids=RandomIds(),
        rules=told.rules,
    )
    peers.start()
    consensus.start()
    if len(told.book) > 1:
        controller.start()
        relief.start()
    print("ready", flush=True)
    tell_role(consensus, place.with_name("role"))


def tell_role(consensus: Consensus, path: Path) -> None:
    told = ""
    while True:
        found = consensus.status()
        role = "leader" if found.role == "leader" and found.has_quorum else "other"
        if role != told:
            path.write_text(role)
            told = role
        time.sleep(0.1)


if __name__ == "__main__":
    main()
