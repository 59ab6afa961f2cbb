"""The socket under clients that behave badly: they harm nobody but themselves."""

import contextlib
import os
import random
import socket
import sqlite3
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from node.cluster.client import ProposalClient
from node.cluster.consensus import Consensus
from node.cluster.library import ClusterFault, Diverged
from node.cluster.lock import DirectoryInUse
from node.cluster.settings import RaftSettings
from node.cluster.wire import LENGTH, frame
from node.errors import BadRequest, DiskFull, TooLarge, Unavailable
from node.testing.ledger import LedgerMachine, ledger_txn

SETTINGS = RaftSettings(node_id="a", reserve_bytes=0, floor_bytes=0)


def until(holds: Callable[[], bool], deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)


@contextlib.contextmanager
def running(
    place: Path, machine: LedgerMachine, settings: RaftSettings = SETTINGS
) -> Iterator[Consensus]:
    faults: list[str] = []
    consensus = Consensus(machine, place / "data", place / "s", settings, on_fault=faults.append)
    consensus.start()
    try:
        yield consensus
    finally:
        consensus.stop()
    assert faults == []


@pytest.fixture
def machine() -> LedgerMachine:
    return LedgerMachine()


@pytest.fixture
def consensus(tmp_path: Path, machine: LedgerMachine) -> Iterator[Consensus]:
    with running(tmp_path, machine) as started:
        yield started


@pytest.fixture
def path(tmp_path: Path, consensus: Consensus) -> Path:
    return tmp_path / "s"


def link(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(10)
    sock.connect(str(path))
    return sock


def received(sock: socket.socket) -> list[object]:
    """Return the next answer, or an empty list when the connection has ended."""
    data = b""
    while len(data) < LENGTH.size or len(data) < LENGTH.size + LENGTH.unpack_from(data)[0]:
        more = sock.recv(
            1 if len(data) < LENGTH.size else LENGTH.unpack_from(data)[0] + 4 - len(data)
        )
        if not more:
            return []
        data += more
    return msgspec.msgpack.decode(data[LENGTH.size :])


def test_a_transaction_is_answered_with_its_outcome(path: Path) -> None:
    client = ProposalClient(path)
    assert client.propose(ledger_txn("x"), 5) == b"0"
    assert client.propose(ledger_txn("y"), 5) == b"1"
    assert client.propose(ledger_txn("x"), 5) == b"0"
    client.close()


def test_many_threads_get_their_own_answers(path: Path, machine: LedgerMachine) -> None:
    client = ProposalClient(path)
    answers: dict[str, bytes] = {}

    def work(worker: int) -> None:
        for number in range(20):
            answers[f"{worker}-{number}"] = client.propose(ledger_txn(f"{worker}-{number}"), 10)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: machine.order[int(answer)] for name, answer in answers.items()} == {
        name: name for name in answers
    }
    assert len(answers) == 320
    assert len(machine.entries) < 320  # they were coalesced
    client.close()


def test_many_requests_on_one_connection_are_all_answered(path: Path) -> None:
    with link(path) as sock:
        total = 2000
        sender = threading.Thread(
            target=lambda: sock.sendall(
                b"".join(frame((n, ledger_txn(f"id{n}"))) for n in range(total))
            )
        )
        sender.start()
        seen = {received(sock)[0] for _ in range(total)}
        sender.join()
    assert seen == set(range(total))


def test_a_frame_in_pieces_is_one_frame(path: Path) -> None:
    with link(path) as sock:
        for byte in frame((7, ledger_txn("x"))):
            sock.sendall(bytes([byte]))
        assert received(sock) == [7, "ok", b"0"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        LENGTH.pack(3) + b"\xc1\xc1\xc1",
        LENGTH.pack(0),
        frame(("seven", b"txn")),
        frame((7, "text")),
        struct.pack(">I", 0xFFFFFFFF),
    ],
)
def test_garbage_is_told_so_and_the_connection_ends(path: Path, garbage: bytes) -> None:
    client = ProposalClient(path)
    with link(path) as sock:
        sock.sendall(garbage)
        answer = received(sock)
        assert answer[1:3] == ["error", "malformed"]
        assert received(sock) == []
    assert client.propose(ledger_txn("x"), 5) == b"0"
    client.close()


def test_what_came_before_garbage_is_still_applied(path: Path, machine: LedgerMachine) -> None:
    with link(path) as sock:
        sock.sendall(frame((1, ledger_txn("x"))) + frame((2, "text")))
        assert received(sock)[:1] != [2]
    until(lambda: machine.order == ["x"])


def test_a_client_that_leaves_amid_a_request_hurts_nobody(
    path: Path, machine: LedgerMachine, consensus: Consensus
) -> None:
    for number in range(50):
        with link(path) as sock:
            sock.sendall(frame((1, ledger_txn(f"id{number}"))) + frame((2, ledger_txn("half")))[:9])
    client = ProposalClient(path)
    client.propose(ledger_txn("x"), 5)
    client.close()
    until(lambda: consensus.status().connections == 0)
    until(lambda: len(machine.order) == 51)
    assert "half" not in machine.order


def test_a_client_that_does_not_read_blocks_nobody(path: Path, consensus: Consensus) -> None:
    client = ProposalClient(path)
    with link(path) as sock:
        sock.setblocking(False)
        block = b"".join(frame((n, ledger_txn("same"))) for n in range(1000))
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 400:
                sock.sendall(block)  # answers pile up until the core stops reading
                sent += 1
        for number in range(20):
            client.propose(ledger_txn(f"id{number}"), 5)
        assert consensus.status().connections == 2
    until(lambda: consensus.status().connections == 1)
    client.close()


def test_a_transaction_that_is_too_large_is_refused_and_the_connection_goes_on(path: Path) -> None:
    with link(path) as sock:
        sock.sendall(
            frame((1, ledger_txn("x", note="n" * 201 * 1024))) + frame((2, ledger_txn("y")))
        )
        first, second = received(sock), received(sock)
    assert first[:3] == [1, "error", "too_large"]
    assert second == [2, "ok", b"0"]
    client = ProposalClient(path)
    with pytest.raises(TooLarge):
        client.propose(ledger_txn("x", note="n" * 201 * 1024), 5)
    with pytest.raises(TooLarge):
        client.propose(bytes(2**20), 5)
    assert client.propose(ledger_txn("z", note="n" * 199 * 1024), 5) == b"1"
    client.close()


def test_the_socket_is_for_the_owner_only(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(path.stat().st_mode)


def test_a_left_over_socket_is_replaced_and_ours_removed(
    tmp_path: Path, machine: LedgerMachine
) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "s"))
    stale.close()
    with running(tmp_path, machine):
        client = ProposalClient(tmp_path / "s")
        assert client.propose(ledger_txn("x"), 5) == b"0"
        client.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_second_daemon_on_the_same_directory_is_refused(
    tmp_path: Path, consensus: Consensus
) -> None:
    second = Consensus(LedgerMachine(), tmp_path / "data", tmp_path / "other", SETTINGS)
    with pytest.raises(DirectoryInUse, match=f"in use by process {os.getpid()}"):
        second.start()
    assert not (tmp_path / "other").exists()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_does_not_hold_the_directory(tmp_path: Path, machine: LedgerMachine) -> None:
    with running(tmp_path, machine):
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            theirs.sendall(b"!")
            theirs.recv(1)
            os._exit(0)
        ours.recv(1)
    try:
        with running(tmp_path, machine) as again:
            assert again.status().role == "leader"
    finally:
        ours.sendall(b"!")
        os.waitpid(child, 0)
        ours.close()
        theirs.close()


def test_a_socket_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    consensus = Consensus(LedgerMachine(), tmp_path / "data", tmp_path / ("s" * 120), SETTINGS)
    with pytest.raises(ClusterFault, match="too long for the kernel"):
        consensus.start()
    with running(tmp_path, LedgerMachine()):
        pass  # everything was let go


def test_a_log_that_was_given_up_is_not_used_again(tmp_path: Path) -> None:
    faults: list[str] = []
    consensus = Consensus(
        LedgerMachine(), tmp_path / "data", tmp_path / "s", SETTINGS, on_fault=faults.append
    )
    consensus.start()

    def fail() -> None:
        raise Diverged("There are two clusters: let this node join anew")

    consensus._calls.post(fail)
    consensus._thread.join(30)
    assert "two clusters" in faults[0]
    consensus.stop()
    with pytest.raises(ClusterFault, match="let this node join anew"):
        Consensus(LedgerMachine(), tmp_path / "data", tmp_path / "s", SETTINGS).start()


def test_no_port_is_open(consensus: Consensus) -> None:
    inodes = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            inodes.add(os.readlink(descriptor))
    listed = [
        line.split()[9]
        for table in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]
    ]
    assert not inodes & {f"socket:[{inode}]" for inode in listed}


def test_threads_of_the_core_may_propose(consensus: Consensus, machine: LedgerMachine) -> None:
    assert consensus.propose(ledger_txn("x"), 5) == b"0"
    done = threading.Event()
    consensus.submit(ledger_txn("y"), lambda answer: done.set() if answer.outcome == b"1" else None)
    assert done.wait(5)
    with pytest.raises(TooLarge):
        consensus.propose(ledger_txn("z", note="n" * 201 * 1024), 5)


def test_a_callback_or_hook_that_raises_stops_nothing(consensus: Consensus) -> None:
    indexes: list[int] = []

    def hook(index: int) -> None:
        indexes.append(index)
        raise ValueError("of the hook")

    def callback(_: object) -> None:
        raise ValueError("of the callback")

    consensus.on_applied = hook
    consensus.submit(ledger_txn("x"), callback)
    assert consensus.propose(ledger_txn("y"), 5) == b"1"
    until(lambda: len(indexes) >= 1)


def test_the_loop_thread_is_told_that_it_cannot_wait_for_itself(consensus: Consensus) -> None:
    errors: list[BaseException] = []

    def callback(_: object) -> None:
        try:
            consensus.propose(ledger_txn("y"), 5)
        except RuntimeError as error:
            errors.append(error)

    consensus.submit(ledger_txn("x"), callback)
    until(lambda: len(errors) == 1)


def test_a_state_machine_that_fails_stops_the_process_and_nothing_is_answered(
    tmp_path: Path,
) -> None:
    machine, faults = LedgerMachine(), []
    consensus = Consensus(
        machine, tmp_path / "data", tmp_path / "s", SETTINGS, on_fault=faults.append
    )
    consensus.start()
    client = ProposalClient(tmp_path / "s")
    client.propose(ledger_txn("x"), 5)
    machine.fail_with = OSError(5, "Input/output error")
    with pytest.raises(Unavailable):
        client.propose(ledger_txn("y"), 0.5)
    assert len(faults) == 1
    assert "Input/output error" in faults[0]
    assert consensus.status().fault == faults[0]
    consensus.stop()
    machine.fail_with = None
    with running(tmp_path, machine):
        assert machine.order == ["x", "y"]  # it was in the log
        assert client.propose(ledger_txn("y"), 5) == b"1"
    client.close()


def test_a_state_without_room_waits_and_answers_once_there_is_some(
    consensus: Consensus, machine: LedgerMachine
) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    answers: list[object] = []
    consensus.propose(ledger_txn("w"), 5)
    machine.fail_with = full
    consensus.submit(ledger_txn("x"), lambda answer: answers.append(answer.outcome))
    until(lambda: consensus.status().disk_full)
    with pytest.raises(DiskFull):
        consensus.propose(ledger_txn("y"), 5)
    assert answers == []
    machine.fail_with = None
    until(lambda: answers == [b"1"])
    until(lambda: not consensus.status().disk_full)
    assert consensus.propose(ledger_txn("z"), 5) == b"2"


def test_a_start_without_any_room_waits_for_some(tmp_path: Path, machine: LedgerMachine) -> None:
    with running(tmp_path, machine) as consensus:
        consensus.propose(ledger_txn("x"), 5)
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    machine.fail_with, machine.applied_index, machine.order = full, 0, []  # a state to be replayed
    with running(tmp_path, machine) as consensus:
        assert consensus.status().disk_full
        machine.fail_with = None
        assert consensus.propose(ledger_txn("x", frees=True), 10) == b"0"


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_hurt_nobody(path: Path, consensus: Consensus, seed: int) -> None:
    chance = random.Random(seed)
    client = ProposalClient(path)
    for number in range(40):
        with link(path) as sock, contextlib.suppress(OSError):
            sock.sendall(LENGTH.pack(chance.randrange(200)) * chance.randrange(2))
            sock.sendall(chance.randbytes(chance.randrange(1, 400)))
        client.propose(ledger_txn(f"{seed}-{number}"), 5)
    until(lambda: consensus.status().connections == 1)
    client.close()


def test_stopping_tells_those_who_wait(tmp_path: Path) -> None:
    with running(tmp_path, LedgerMachine()) as consensus:
        pass
    with pytest.raises(Unavailable):
        consensus.propose(ledger_txn("x"), 5)


def test_a_member_without_its_peers_answers_no_quorum(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, first_peers=("b", "c"), proposal_timeout_s=0.3)
    with running(tmp_path, LedgerMachine(), settings) as consensus:
        assert consensus.status().role == "follower"
        with pytest.raises(Unavailable, match="no leader or quorum"):
            consensus.propose(ledger_txn("x"), 5)
        with link(tmp_path / "s") as sock:
            sock.sendall(frame((1, ledger_txn("x"))))
            assert received(sock)[:3] == [1, "error", "no_quorum"]


def test_the_status_tells_where_the_node_stands(consensus: Consensus) -> None:
    consensus.propose(ledger_txn("x"), 5)
    status = consensus.status()
    assert (status.role, status.leader_id, status.disk_full, status.fault) == (
        "leader",
        "a",
        False,
        "",
    )
    assert status.applied_index == status.commit_index == status.journal_entries
    assert status.last_tick_age_s < 5


def test_the_log_is_trimmed_while_it_runs(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, compaction_min_entries=50, tail_entries=10)
    machine = LedgerMachine()
    with running(tmp_path, machine, settings) as consensus:
        for number in range(400):
            consensus.propose(ledger_txn(f"id{number}"), 5)
        until(lambda: consensus.status().journal_entries <= 75)
        assert machine.checkpoints >= 4


def test_a_log_of_many_bytes_is_trimmed_too(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SETTINGS, compaction_max_bytes=500_000, tail_entries=0)
    with running(tmp_path, LedgerMachine(), settings) as consensus:
        for number in range(60):
            consensus.propose(ledger_txn(f"id{number}", note="n" * 50_000), 5)
        until(lambda: consensus.status().journal_bytes <= 600_000)


def test_an_idle_core_costs_next_to_nothing(consensus: Consensus) -> None:
    consensus.propose(ledger_txn("x"), 5)
    before, start = time.process_time(), time.monotonic()
    time.sleep(1.5)  # the time is what is measured
    assert (time.process_time() - before) / (time.monotonic() - start) < 0.02


def test_errors_keep_their_meaning() -> None:
    from node.cluster.submit import error_of

    assert isinstance(error_of("malformed", "m"), BadRequest)
    assert isinstance(error_of("timeout", "m"), Unavailable)
