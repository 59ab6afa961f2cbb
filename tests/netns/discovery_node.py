"""Announces a node in its namespace and prints, a JSON line a second, whom it sees: address by node id."""

import json
import sys
import time
from pathlib import Path

from node.cluster.address_book import AddressBook
from node.cluster.discovery import ANEW_S, Announcement, Discovery
from node.config import ClusterSection, Config
from tests.unit.cluster.rows import Rows

PORT = 7444


def main(directory: Path, node_id: str, anew_s: float) -> None:
    """Run until killed."""
    directory.mkdir()
    rows = Rows(directory / "state.db")
    book = AddressBook(directory, lambda: rows.db)
    config = Config({"cluster": ClusterSection(port=PORT)})  # no address: the one of the interface
    discovery = Discovery(config, node_id=node_id, fingerprint="f" * 64, book=book, anew_s=anew_s)
    discovery.announce(Announcement(cluster_id="c1"))
    discovery.start()
    while True:
        print(json.dumps({one.node_id: one.host for one in book.sightings()}), flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else ANEW_S)
