"""The client across restarts of the core."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from node.cluster.client import ProposalClient
from node.cluster.consensus import Consensus
from node.cluster.settings import RaftSettings
from node.errors import Unavailable
from node.testing.ledger import LedgerMachine, ledger_txn

SETTINGS = RaftSettings(node_id="a", reserve_bytes=0, floor_bytes=0)


def started(place: Path, machine: LedgerMachine) -> Consensus:
    consensus = Consensus(machine, place / "data", place / "s", SETTINGS)
    consensus.start()
    return consensus


def test_a_restart_between_requests_goes_unnoticed(tmp_path: Path) -> None:
    machine, client = LedgerMachine(), ProposalClient(tmp_path / "s")
    for number in range(3):
        consensus = started(tmp_path, machine)
        assert client.propose(ledger_txn(f"id{number}"), 5) == str(number).encode()
        consensus.stop()
    client.close()


def test_restarts_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    machine, client = LedgerMachine(), ProposalClient(tmp_path / "s")
    acked: list[str] = []
    end = threading.Event()

    def work(worker: int) -> None:
        number = 0
        while not end.is_set():
            client.propose(ledger_txn(f"{worker}-{number}"), 20)
            acked.append(f"{worker}-{number}")
            number += 1

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        consensus = started(tmp_path, machine)
        count, deadline_s = len(acked), time.monotonic() + 30
        while len(acked) < count + 50:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        consensus.stop()
    consensus = started(tmp_path, machine)
    end.set()
    for thread in threads:
        thread.join()
    consensus.stop()
    client.close()
    assert sorted(acked) == sorted(machine.order)


def test_a_read_is_fresh_when_there_is_a_leader_and_old_without_a_core(tmp_path: Path) -> None:
    client = ProposalClient(tmp_path / "s")
    assert not client.read_index(0.3)
    consensus = started(tmp_path, LedgerMachine())
    assert client.read_index(10)
    client.propose(ledger_txn("x"), 10)  # reads and proposals share a connection
    assert client.read_index(10)
    consensus.stop()
    client.close()


def test_without_a_core_it_says_so_in_time(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(Unavailable, match="may have been applied"):
        ProposalClient(tmp_path / "none").propose(ledger_txn("x"), 0.3)
    assert 0.25 < time.monotonic() - begin < 5


def test_a_core_that_accepts_and_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        with pytest.raises(Unavailable):
            ProposalClient(tmp_path / "s").propose(ledger_txn("x"), 0.3)


def test_a_late_core_is_found(tmp_path: Path) -> None:
    machine, client, answers = LedgerMachine(), ProposalClient(tmp_path / "s"), []
    asking = threading.Thread(target=lambda: answers.append(client.propose(ledger_txn("x"), 10)))
    asking.start()
    consensus = started(tmp_path, machine)
    asking.join()
    consensus.stop()
    client.close()
    assert answers == [b"0"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_does_not_share_connections(tmp_path: Path) -> None:
    machine, client = LedgerMachine(), ProposalClient(tmp_path / "s")
    consensus = started(tmp_path, machine)
    client.propose(ledger_txn("parent"), 5)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for number in range(50):
                client.propose(ledger_txn(f"child{number}"), 5)
            code = 0
        finally:
            os._exit(code)
    for number in range(50):
        client.propose(ledger_txn(f"parent{number}"), 5)
    assert os.waitpid(child, 0)[1] == 0
    consensus.stop()
    client.close()
    assert len(machine.order) == 101
