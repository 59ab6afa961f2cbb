"""The process of a witness: one that joins with a token, keeps links to all nodes, and votes.

It is no node: it serves no API, holds no rows, and runs nothing. What it knows of the members, whose links it takes by
their keys, the nodes tell it. All that it promises is in one small file (`witness_file`); without that file it may not
come back under its id.
"""

import logging
import os
import queue
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from node import __version__
from node.clock import SystemClock
from node.cluster.address_book import AddressBook
from node.cluster.discovery import Announcement, Discovery
from node.cluster.formation import Formation
from node.cluster.links import Links
from node.cluster.lock import DirectoryLock
from node.cluster.lookout import look_around
from node.cluster.peers import PeerNetwork
from node.cluster.poller import EpollPoller
from node.cluster.prevote import PreVotes
from node.cluster.recover import generation
from node.cluster.self_claim import seeds_of
from node.cluster.server_files import TLS_DIRECTORY
from node.cluster.settings import RaftSettings
from node.cluster.standing import PROTOCOL, Answer, Question, ask
from node.cluster.trust import Trust
from node.cluster.witness_file import PROMISE_FILE, PromiseFile
from node.cluster.witness_vote import PREFIX, Promise, Witness, is_witness
from node.config import ClusterSection, Config
from node.errors import Conflict
from node.ids import RandomIds
from node.types import Frozen

log = logging.getLogger("hedgerow.witness")

_POLL_S = 0.05
_ASK_EVERY_S = 5.0
_ASK_SOON_S = 1.0
_ASK_PAUSE_S = 0.1
_STOP_GRACE_S = 5.0


class _Identity(Frozen):
    node_id: str


class WitnessProcess:
    """A witness on a state directory of its own."""

    def __init__(self, config: Config) -> None:
        """Open the directory.

        Raises:
            Conflict: 409, it is a node's, or what was promised cannot be read.
            DirectoryInUse: another process has it.
        """
        section = config.section(ClusterSection)
        self._config = config
        self._directory = config.state_dir
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = DirectoryLock(self._directory)
        self._lock.take()
        self.node_id = identity(self._directory)
        self._clock = SystemClock()
        self._trust = Trust(self._directory / TLS_DIRECTORY, self.node_id, self._clock)
        if self._trust.is_member and not (self._directory / PROMISE_FILE).exists():
            raise Conflict(
                f"{self._directory} lacks the file {PROMISE_FILE}, which says whom this witness has voted for: "
                "empty it, so that it comes back as another witness"
            )
        self._file = PromiseFile(self._directory)
        self._book = AddressBook(self._directory, None)
        self._peers = PeerNetwork(
            node_id=self.node_id,
            credentials=self._trust.credentials,
            addresses=self._book,
            is_member=self._is_member,
            listen=(section.listen, section.port) if section.port else None,
            unreachable=self._book.unreachable,
        )
        self._discovery = Discovery(
            config, node_id=self.node_id, fingerprint=self._trust.fingerprint, book=self._book
        )
        self._formation = Formation(
            config=config,
            node_id=self.node_id,
            trust=self._trust,
            peers=self._peers,
            book=self._book,
            door=None,
            clock=self._clock,
            ids=RandomIds(),
        )
        self._seeds = seeds_of(section)
        self._settings = RaftSettings(node_id=self.node_id)
        self._poller = EpollPoller()
        self._links: Links | None = None
        self._wake = threading.Event()
        self._vote = self._made()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._trouble = ""
        self._stopping = threading.Event()
        self._asking = threading.Thread(target=self._ask_forever, name="standing", daemon=True)

    def run(self) -> None:
        """Join, if that was not done before, and vote until `stop` is called.

        Raises:
            MachineFault: the disk failed.
            NodeError: it cannot join; says why.
        """
        self._peers.start()
        self._discovery.announce(Announcement(cluster_id=""))
        self._discovery.start()
        if not self._trust.is_member:
            if self._formation.run(self._stopping) is None:
                return
            self._peers.reload()
        self._asking.start()
        self._open()
        while not self._stopping.is_set():
            self._turn()

    def stop(self) -> None:
        """Have `run` return soon."""
        self._stopping.set()
        self._wake.set()

    def close(self) -> None:
        """Close what is open; `run` has returned."""
        self.stop()
        if self._asking.is_alive():
            self._asking.join(_STOP_GRACE_S)
        if self._links is not None:
            self._links.close()
        self._discovery.stop()
        self._peers.stop()
        self._poller.close()
        self._file.close()
        self._lock.release()

    def status(self) -> dict[str, object]:
        """Return what `hedgerow status` prints."""
        checks = [self._standing()] if self._trust.is_member else self._formation.status()
        return {
            "version": __version__,
            "node_id": self.node_id,
            "pid": os.getpid(),
            "health": [{"name": name, "ok": ok, "detail": text} for name, ok, text in checks],
            "plugins": [],
        }

    def _standing(self) -> tuple[str, bool, str]:
        if self._trouble:
            return "witness", False, self._trouble
        said = self._vote.promise
        if self._vote.follows:
            leader = self._vote.leader_id
            return "witness", True, f"follows {leader}, term {said.term}, entry {said.mark_index}"
        return "witness", False, "hears of no leader: it waits for the nodes, and tries them all"

    # -- the loop

    def _made(self) -> Witness:
        timeouts_s = (self._settings.election_min_s, self._settings.election_max_s)
        votes = PreVotes(timeouts_s)
        return Witness(self._file.promise, self._file.keep, self._say, votes, self._is_unknown)

    def _is_unknown(self, voters: Sequence[str]) -> bool:
        """Say whether a voter is not known here yet; if so, ask for it at once."""
        known = self._book.remembered()
        if all(voter in known or is_witness(voter) for voter in voters):
            return False
        self._wake.set()
        return True

    def _say(self, node_id: str, message: dict[str, object]) -> bool:
        return self._links is not None and self._links.send(node_id, message)

    def _open(self) -> None:
        """Begin to take part, in the epoch that was promised last."""
        epoch = self._file.promise.epoch
        settings = msgspec.structs.replace(self._settings, epoch=epoch)
        self._links = Links(settings, self._peers, self._poller)
        self._links.start(self._vote)

    def _turn(self) -> None:
        assert self._links is not None
        self._links.want(set(self._book.remembered()))
        self._links.tick(time.monotonic(), eager=True)
        self._poller.poll(_POLL_S)
        while not self._answers.empty():
            self._take(self._answers.get())

    def _take(self, answer: Answer) -> None:
        """Learn who the members are, and in which epoch."""
        own = self._file.promise.epoch
        if answer.epoch != own and generation(answer.epoch) == generation(own) and own:
            self._trouble = (
                f"two nodes began the cluster anew apart from each other (epochs {own} and {answer.epoch}): "
                "stop one, remove its state directory, and let it join the other"
            )
            return
        if answer.epoch > own:
            log.warning("the cluster began anew: what was promised in epoch %d is void", own)
            self._file.keep(Promise(epoch=answer.epoch))
            assert self._links is not None
            self._links.close()
            self._vote = self._made()
            self._open()
        if answer.epoch == self._file.promise.epoch and answer.follows:
            self._trouble = ""
            if answer.word != "member":
                self._trouble = (
                    "this witness was removed from the cluster: remove its state directory, "
                    "then it may join anew"
                )
            elif answer.members:
                self._book.remember(answer.members)

    # -- asking the nodes

    def _ask_forever(self) -> None:
        while not self._stopping.is_set():
            known = list(self._book.remembered())
            random.shuffle(known)
            known.sort(key=lambda node_id: node_id != self._vote.leader_id)
            is_well = self._vote.follows and not self._trouble
            if not is_well:
                look_around(self._seeds, self._peers, PROTOCOL, self._key_of, self._book)
            for node_id in known[:1] if is_well else known:
                question = Question(
                    node_id=self.node_id, epoch=self._file.promise.epoch, wants_members=True
                )
                answer = ask(self._peers, node_id, question)
                if answer is not None:
                    self._answers.put(answer)
            pause_s = _ASK_EVERY_S if is_well else _ASK_SOON_S
            if self._wake.wait(pause_s * random.uniform(0.5, 1.0)):
                self._wake.clear()
                self._stopping.wait(_ASK_PAUSE_S)  # not in a circle while nobody knows more

    def _key_of(self, node_id: str) -> str:
        known = self._book.remembered().get(node_id)
        return known.fingerprint if known is not None else ""

    def _is_member(self, node_id: str, fingerprint: str) -> bool:
        known = self._book.remembered().get(node_id)
        return known is not None and known.fingerprint == fingerprint


def identity(directory: Path) -> str:
    """Return the id of the witness of a directory, made at its first start.

    Raises:
        Conflict: 409, the directory is a node's.
    """
    path = directory / "identity.json"
    if not path.exists():
        aside = path.with_suffix(".new")
        with aside.open("wb") as file:
            file.write(msgspec.json.encode(_Identity(node_id=PREFIX + RandomIds().uuid())))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    found = msgspec.json.decode(path.read_bytes(), type=_Identity).node_id
    if not is_witness(found):
        raise Conflict(f"{directory} is the state directory of node {found}: use another one")
    return found
