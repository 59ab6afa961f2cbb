"""The cluster that a node without a token asked first: it waits for that one, and takes no other's word."""

import os
from pathlib import Path

import msgspec

from node.cluster.join import Fake, ca_fingerprint
from node.cluster.proof import Challenge
from node.types import Frozen

PIN_FILE = "pending.json"


class Pinned(Frozen):
    """Which cluster."""

    cluster_id: str
    ca_fingerprint: str


class Pin:
    """Remembers it on the disk."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / PIN_FILE
        self._pinned: Pinned | None = None
        if self._path.exists():
            self._pinned = msgspec.json.decode(self._path.read_bytes(), type=Pinned)

    def check(self, challenge: Challenge) -> None:
        """Take the first cluster that answers, and no other one after it.

        Raises:
            Fake: this one is another cluster.
        """
        if challenge.standing != "member":
            raise Fake("It is in no cluster itself")
        asked = Pinned(cluster_id=challenge.cluster_id, ca_fingerprint=ca_fingerprint(challenge.ca))
        if self._pinned is None:
            aside = self._path.with_suffix(".new")
            with aside.open("wb") as file:
                file.write(msgspec.json.encode(asked))
                file.flush()
                os.fsync(file.fileno())
            aside.rename(self._path)
            self._pinned = asked
        elif self._pinned != asked:
            raise Fake(
                f"It is of cluster {asked.cluster_id}, and this node has asked cluster "
                f"{self._pinned.cluster_id}: delete {self._path} to ask another one"
            )

    def told(self) -> str:
        """Return which cluster is asked, for `hedgerow status`."""
        if self._pinned is None:
            return ""
        return (
            f" by cluster {self._pinned.cluster_id}, whose CA has the fingerprint "
            f"{self._pinned.ca_fingerprint}"
        )
