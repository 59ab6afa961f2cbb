"""One node of a formation trial, as a process in its namespace: all of formation, with multicast, but no log.

Prints one JSON line once it is a member, and serves on until it is killed.
"""

import json
import logging
import signal
import sys
from pathlib import Path

from node.cluster.discovery import Announcement, Discovery
from node.cluster.join import ca_fingerprint
from node.cluster.token import parse
from tests.unit.cluster.formation_nodes import Machine

PORT = 7444


def main(directory: Path, address: str, token: str) -> None:
    """Run one node."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    node_id = directory.joinpath("node_id")
    directory.mkdir(parents=True, exist_ok=True)
    machine = Machine(
        directory,
        token=parse(token),
        node_id=node_id.read_text() if node_id.exists() else "",
        place=(address, PORT),
    )
    node_id.write_text(machine.node_id)
    discovery = Discovery(
        machine.config,
        node_id=machine.node_id,
        fingerprint=machine.trust.fingerprint,
        book=machine.book,
    )
    discovery.announce(Announcement(cluster_id=parse(token).cluster_id))
    discovery.start()
    founded = directory / "founded"
    if founded.exists():  # it has a log, as it were: a member does not form anything again
        machine.open()
    else:
        machine.begin(on_founded=lambda: founded.write_text("yes"))
        machine.thread.join()
    ca = ca_fingerprint(machine.trust.ca_pem)
    discovery.announce(Announcement(cluster_id=parse(token).cluster_id, ca=ca))
    error = machine.error.message if machine.error else ""
    print(json.dumps({"node": machine.node_id, "ca": ca, "error": error}), flush=True)
    signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
