"""Coalescing, limits and answers, without sockets or a log."""

from pathlib import Path

import msgspec
import pytest

from node.cluster.proposals import Proposals
from node.cluster.settings import RaftSettings
from node.cluster.space import SpaceGuard
from node.testing.ledger import ledger_txn


class Log:
    """Takes entries and keeps them."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, list[bytes]]] = []

    def propose(self, number: int, entry: bytes) -> None:
        self.entries.append((number, msgspec.msgpack.decode(entry, type=list[bytes])))


class Asker:
    """Keeps its answers."""

    def __init__(self) -> None:
        self.outcomes: dict[int, bytes] = {}
        self.errors: dict[int, str] = {}

    def resolve(self, tag: int, outcome: bytes) -> None:
        assert tag not in self.outcomes
        assert tag not in self.errors
        self.outcomes[tag] = outcome

    def reject(self, tag: int, code: str, message: str) -> None:
        assert tag not in self.outcomes
        assert tag not in self.errors
        self.errors[tag] = code


def made(place: Path, **more: object) -> tuple[Proposals, SpaceGuard]:
    space = SpaceGuard(place, reserve_bytes=0, floor_bytes=0)
    return Proposals(RaftSettings(node_id="a", **more), space), space


def test_all_that_wait_become_one_entry(tmp_path: Path) -> None:
    proposals, _ = made(tmp_path)
    log, asker = Log(), Asker()
    for tag in range(100):
        proposals.offer(b"txn%d" % tag, asker, tag)
    proposals.flush(log)
    assert [len(txns) for _, txns in log.entries] == [100]
    proposals.delivered(log.entries[0][0], [b"out%d" % tag for tag in range(100)])
    assert asker.outcomes == {tag: b"out%d" % tag for tag in range(100)}


def test_entries_have_a_limit_in_number_bytes_and_flight(tmp_path: Path) -> None:
    proposals, _ = made(tmp_path)
    log, asker = Log(), Asker()
    for tag in range(300):
        proposals.offer(b"t", asker, tag)
    for tag in range(300, 308):
        proposals.offer(bytes(100 * 1024), asker, tag)
    proposals.flush(log)
    assert [len(txns) for _, txns in log.entries] == [256, 46, 2, 2]
    assert proposals.waiting == 2
    assert not proposals.can_flush
    proposals.delivered(log.entries[1][0], [b"o"] * 46)
    assert proposals.can_flush
    proposals.flush(log)
    assert proposals.waiting == 0
    assert all(sum(map(len, txns)) <= 256 * 1024 for _, txns in log.entries)


def test_one_that_is_too_large_is_refused(tmp_path: Path) -> None:
    proposals, _ = made(tmp_path)
    asker = Asker()
    proposals.offer(bytes(200 * 1024), asker, 1)
    proposals.offer(bytes(200 * 1024 + 1), asker, 2)
    assert asker.errors == {2: "too_large"}
    assert proposals.waiting == 1


def test_a_full_disk_takes_only_what_frees(tmp_path: Path) -> None:
    proposals, space = made(tmp_path)
    log, asker = Log(), Asker()
    proposals.offer(ledger_txn("waiting"), asker, 1)
    space.is_full = True
    proposals.offer(ledger_txn("grows"), asker, 2)
    proposals.offer(ledger_txn("frees", frees=True), asker, 3)
    proposals.offer(b"\xc1", asker, 4)
    proposals.flush(log)
    assert asker.errors == {1: "disk_full", 2: "disk_full", 4: "disk_full"}
    assert log.entries == [(1, [ledger_txn("frees", frees=True)])]
    space.is_full = False
    proposals.offer(ledger_txn("grows"), asker, 5)
    assert proposals.waiting == 1


def test_what_the_log_hands_back_is_proposed_again_in_order(tmp_path: Path) -> None:
    proposals, _ = made(tmp_path)
    log, asker = Log(), Asker()
    for tag in range(3):
        proposals.offer(b"txn%d" % tag, asker, tag)
    proposals.flush(log)
    proposals.offer(b"txn3", asker, 3)
    proposals.failed(1)
    proposals.flush(log)
    assert log.entries[1] == (2, [b"txn0", b"txn1", b"txn2", b"txn3"])
    proposals.delivered(1, [b"late"] * 3)  # the first one was in the log after all
    assert asker.outcomes == {}
    proposals.delivered(2, [b"o"] * 4)
    assert set(asker.outcomes) == {0, 1, 2, 3}


def test_time_runs_out(tmp_path: Path) -> None:
    proposals, _ = made(tmp_path, proposal_timeout_s=0.0, max_entries_in_flight=1)
    log, asker = Log(), Asker()
    proposals.offer(b"under way", asker, 1)
    proposals.flush(log)
    proposals.offer(b"waiting", asker, 2)
    proposals.expire()
    assert asker.errors == {1: "timeout", 2: "no_quorum"}
    proposals.offer(b"next", asker, 3)
    assert proposals.can_flush  # the lost entry holds no place


def test_waiting_on_a_full_disk_is_called_so(tmp_path: Path) -> None:
    proposals, space = made(tmp_path, proposal_timeout_s=0.0)
    asker = Asker()
    space.is_full = True
    proposals.offer(ledger_txn("frees", frees=True), asker, 1)
    proposals.expire()
    assert asker.errors == {1: "disk_full"}


def test_closing_answers_everybody(tmp_path: Path) -> None:
    proposals, _ = made(tmp_path, max_entries_in_flight=1)
    log, asker = Log(), Asker()
    proposals.offer(b"under way", asker, 1)
    proposals.flush(log)
    proposals.offer(b"waiting", asker, 2)
    proposals.close()
    proposals.offer(b"after", asker, 3)
    assert asker.errors == dict.fromkeys((1, 2, 3), "shutting_down")


@pytest.mark.parametrize("extra", [0, 1])
def test_a_wrong_number_of_outcomes_answers_as_far_as_it_goes(tmp_path: Path, extra: int) -> None:
    proposals, _ = made(tmp_path)
    log, asker = Log(), Asker()
    proposals.offer(b"txn", asker, 1)
    proposals.flush(log)
    proposals.delivered(1, [b"o"] * (1 + extra))
    assert asker.outcomes == {1: b"o"}


def test_a_log_without_any_room_is_not_waited_for(tmp_path: Path) -> None:
    """What frees space is tried for a moment: longer than that, whoever asked would hear of a timeout only."""
    proposals, space = made(tmp_path, proposal_timeout_s=15.0, full_timeout_s=0.0)
    asker = Asker()
    frees = msgspec.msgpack.encode({"request_id": "x", "ops": [], "frees": True})
    space.is_full = True
    proposals.offer(frees, asker, 1)
    proposals.expire()
    assert asker.errors == {1: "disk_full"}
    space.is_full = False
    proposals._next_expiry_s = 0.0
    proposals.offer(frees, asker, 2)
    proposals.expire()
    assert 2 not in asker.errors
