"""Commits per second of a cluster, with fsync: real processes, mutual TLS on loopback, clients as API workers are.

    python benchmarks/cluster.py [--members 1,3,5] [--concurrency 1,16,64] [--seconds 4] [--dir DIR] [--no-etcd]

Beside it, in the same run and on the same disk, a bare loop of fdatasync and Debian's etcd (packages etcd-server and
wrk) with as many members. Clients speak to the leader in the first of our rows, to all members in the second. Then
the leader is killed some times: how long until a client of another member gets its next answer.
"""

import argparse
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

import etcd  # noqa: E402
from commits import SHAPES, TABLE, bare_fsync  # noqa: E402

from node.cluster.client import ProposalClient  # noqa: E402
from node.cluster.consensus import Consensus  # noqa: E402
from node.cluster.peers import Credentials, PeerNetwork  # noqa: E402
from node.cluster.settings import RaftSettings  # noqa: E402
from node.errors import NodeError  # noqa: E402
from node.ids import RandomIds  # noqa: E402
from node.state.machine import Machine  # noqa: E402
from node.state.reader import Reader  # noqa: E402
from node.state.txn import Define, Insert, Txn, encode_txn  # noqa: E402
from node.testing.certificates import TestAuthority  # noqa: E402

GOAL_OF_ETCD = 0.5
"""Of etcd's rate at concurrency 64."""
_SOCKET = "core.sock"


def log_of(directory: Path, node_id: str) -> tuple[Consensus, PeerNetwork]:
    """Return the log of one member, or of a node without a vote, and its links."""
    book = {
        name: ("127.0.0.1", port)
        for name, port in json.loads((directory.parent / "book.json").read_text()).items()
    }
    files = Credentials(
        certificate=directory.parent / "ca" / f"{node_id}.pem",
        key=directory.parent / "ca" / f"{node_id}.key",
        ca=directory.parent / "ca" / "ca.pem",
    )
    peers = PeerNetwork(
        node_id=node_id, credentials=lambda: files, addresses=book.get, listen=book[node_id]
    )
    voters = tuple(name for name in book if not name.startswith("l"))
    others = tuple(name for name in voters if name != node_id)
    settings = RaftSettings(node_id=node_id, first_peers=others, first_voter=node_id in voters)
    machine = Machine(directory / "state.db")
    consensus = Consensus(
        machine, directory / "log", directory / _SOCKET, settings, peers=peers if others else None
    )
    if others:
        peers.start()
    return consensus, peers


def learners(directory: Path, node_ids: list[str]) -> None:
    """Run some nodes without a vote in one process, which is killed."""
    made = []
    for node_id in node_ids:
        (directory / node_id).mkdir(exist_ok=True)
        made.append(log_of(directory / node_id, node_id))
        made[-1][0].start()
    print("ready", flush=True)
    threading.Event().wait()


def core(directory: Path, node_id: str) -> None:
    """Run one member until the parent closes the standard input."""
    consensus, peers = log_of(directory, node_id)
    consensus.start()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "status":
            status = consensus.status()
            leads = status.leader_id == node_id
            print(json.dumps([leads, time.process_time()]), flush=True)
    consensus.stop()
    peers.stop()


class Members:
    """The processes of one cluster."""

    def __init__(self, directory: Path, count: int, learners: int = 0) -> None:
        self.directory = directory
        self.names = [f"m{i}" for i in range(count)]
        self.learners = [f"l{i}" for i in range(learners)]
        authority = TestAuthority(directory / "ca")
        for name in (*self.names, *self.learners):
            authority.node(name)
            (directory / name).mkdir()
        book = {name: etcd.free_port() for name in (*self.names, *self.learners)}
        (directory / "book.json").write_text(json.dumps(book))
        self.running: dict[str, subprocess.Popen[str]] = {}

    def start(self, name: str) -> None:
        argv = [
            sys.executable,
            __file__,
            "--role",
            "core",
            "--dir",
            str(self.directory / name),
            "--id",
            name,
        ]
        self.running[name] = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start_learners(self, begin: int, end: int) -> subprocess.Popen[str]:
        """Start a process of some nodes without a vote; it says that it is ready."""
        argv = [sys.executable, __file__, "--role", "learners", "--dir", str(self.directory),
                "--id", ",".join(self.learners[begin:end])]  # fmt: skip
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def applied(self, name: str) -> int:
        """Return at which entry a node's rows are, 0 before there are any."""
        try:
            with contextlib.closing(Reader(self.directory / name / "state.db")) as reader:
                return reader.applied_index()
        except (sqlite3.OperationalError, TypeError):
            return 0

    def behind(self, index: int) -> str:
        """Say how many of the nodes that run without a vote are not at an entry yet; empty: none."""
        there = [name for name in self.learners if (self.directory / name / _SOCKET).exists()]
        late = sum(self.applied(name) < index for name in there)
        return f"{late} of {len(there)} are behind" if late else ""

    def define(self, name: str) -> None:
        """Declare the table of the rows that are written."""
        client = ProposalClient(self.socket(name))
        client.propose(encode_txn(Txn(request_id="define", ops=(Define(TABLE),))), 10)

    def ready(self) -> None:
        for process in self.running.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

    def status(self, name: str) -> tuple[bool, float]:
        process = self.running[name]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("status\n")
        process.stdin.flush()
        leads, cpu_s = json.loads(process.stdout.readline())
        return bool(leads), float(cpu_s)

    def leader(self) -> str:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for name in self.running:
                if self.status(name)[0]:
                    return name
            time.sleep(0.05)
        raise SystemExit("no leader")

    def cpu_s(self) -> float:
        return sum(self.status(name)[1] for name in self.running)

    def socket(self, name: str) -> Path:
        return self.directory / name / _SOCKET

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()


@contextlib.contextmanager
def cluster(directory: Path, count: int) -> Iterator[Members]:
    members = Members(directory, count)
    try:
        for name in members.names:
            members.start(name)
        members.ready()
        members.define(members.leader())
        yield members
    finally:
        for name in list(members.running):
            members.kill(name)


def drive(
    members: Members, targets: list[str], concurrency: int, seconds: float
) -> dict[str, float]:
    """Measure with closed loops spread over some members."""
    processes, threads = SHAPES[concurrency]
    workers = []
    for i in range(processes):
        argv = [sys.executable, str(ROOT / "benchmarks" / "commits.py"), "--role", "worker",
                "--threads", str(threads), "--seconds", str(seconds),
                "--dir", str(members.socket(targets[i % len(targets)]).parent)]  # fmt: skip
        one = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
        workers.append(one)
    before = members.cpu_s()
    for one in workers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    outputs = [one.communicate()[0].splitlines() for one in workers]
    used = members.cpu_s() - before
    latencies = sorted(x for out in outputs for x in json.loads(out[0]))
    count = len(latencies)
    return {
        "rate": count / seconds,
        "p50": latencies[count // 2] * 1e3,
        "p99": latencies[int(count * 0.99)] * 1e3,
        "core_ms": used / count * 1e3,
    }


def failovers(members: Members, kills: int) -> list[float]:
    """Kill the leader again and again; return the seconds until the next commit through another member."""
    ids, gaps = RandomIds(), []
    for _ in range(kills):
        leader = members.leader()
        other = next(name for name in members.running if name != leader)
        client = ProposalClient(members.socket(other))
        _commit(client, ids)
        members.kill(leader)
        began = time.monotonic()
        _commit(client, ids)
        gaps.append(time.monotonic() - began)
        members.start(leader)
        process = members.running[leader]
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        _await_caught_up(members, leader, ids)
    return sorted(gaps)


def _commit(client: ProposalClient, ids: RandomIds) -> None:
    row_id = ids.uuid()
    document = json.dumps({"id": row_id, "project_id": row_id[:8], "name": "x"})
    txn = encode_txn(Txn(request_id=ids.request_id(), ops=(Insert("bench", row_id, document),)))
    deadline = time.monotonic() + 60
    while True:
        try:
            client.propose(txn, 30.0)
            return
        except NodeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _await_caught_up(members: Members, name: str, ids: RandomIds) -> None:
    """A commit through the member that came back proves that it follows."""
    _commit(ProposalClient(members.socket(name)), ids)


def report(args: argparse.Namespace) -> None:
    """Print the table."""
    with_etcd = not args.no_etcd and not etcd.missing()
    if not args.no_etcd and etcd.missing():
        print(
            f"etcd is left out: apt-get install etcd-server wrk (missing: {', '.join(etcd.missing())})"
        )
    print(
        f"{'what':<34}{'per s':>8}{'p50 ms':>9}{'p99 ms':>9}{'core ms':>9}{'of etcd':>9}{'load':>7}"
    )
    with tempfile.TemporaryDirectory(dir=args.dir, prefix="cluster-") as name:
        directory = Path(name)
        _line("bare fdatasync", bare_fsync(directory))
        for count in args.members:
            theirs = _etcd(directory, count, args) if with_etcd else {}
            place = directory / f"ours-{count}"
            place.mkdir()
            with cluster(place, count) as members:
                leader = members.leader()
                for concurrency in args.concurrency:
                    for label, targets in (("leader", [leader]), ("all", members.names)):
                        if label == "all" and count == 1:
                            continue
                        row = drive(members, targets, concurrency, args.seconds)
                        _line(
                            f"{count} members, c={concurrency}, to {label}",
                            row,
                            theirs.get(concurrency, 0.0),
                        )
                if count > 1:
                    gaps = failovers(members, args.kills)
                    print(
                        f"{count} members, {len(gaps)} leaders killed: next commit after "
                        f"p50 {gaps[len(gaps) // 2]:.2f} s, "
                        f"p95 {gaps[int(len(gaps) * 0.95)]:.2f} s, worst {gaps[-1]:.2f} s"
                    )


def _etcd(directory: Path, count: int, args: argparse.Namespace) -> dict[int, float]:
    rates = {}
    place = directory / f"etcd-{count}"
    place.mkdir()
    with etcd.members(place, count) as ports:
        for concurrency in args.concurrency:
            row = etcd.drive(ports[0], concurrency, args.seconds, place)
            rates[concurrency] = row["rate"]
            _line(f"etcd, {count} members, c={concurrency}, to leader", row)
    return rates


def _line(what: str, row: dict[str, float], theirs: float = 0.0) -> None:
    core_ms = f"{row['core_ms']:9.3f}" if "core_ms" in row else " " * 9
    share = f"{row['rate'] / theirs:9.2f}" if theirs else " " * 9
    print(
        f"{what:<34}{row['rate']:8.0f}{row['p50']:9.2f}{row['p99']:9.2f}{core_ms}{share}{os.getloadavg()[0]:7.1f}",
        flush=True,
    )


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=_numbers, default=[1, 3, 5])
    parser.add_argument("--concurrency", type=_numbers, default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--dir", type=Path, default=None, help="a directory on the disk to measure")
    parser.add_argument("--no-etcd", action="store_true")
    parser.add_argument("--role", default="", help=argparse.SUPPRESS)
    parser.add_argument("--id", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role == "core":
        core(args.dir, args.id)
    elif args.role == "learners":
        learners(args.dir, args.id.split(","))
    else:
        report(args)


if __name__ == "__main__":
    main()
