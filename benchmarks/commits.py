"""Commits per second of the row store, with fsync, as API workers see it: real processes over the unix socket.

    python benchmarks/commits.py [--seconds 4] [--dir DIR] [--machine rows|null] [--profile FILE]

Each transaction carries about 500 bytes and inserts one row. Beside it, in the same run and on the same disk, a bare
loop that overwrites 4 KiB and calls fdatasync. Wall-clock figures move with the load of the machine; CPU
milliseconds per commit are the steadier ones.
"""

import argparse
import cProfile
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from node.cluster.client import ProposalClient  # noqa: E402
from node.cluster.consensus import Consensus  # noqa: E402
from node.cluster.settings import RaftSettings  # noqa: E402
from node.ids import RandomIds  # noqa: E402
from node.state.machine import Machine  # noqa: E402
from node.state.row import Table  # noqa: E402
from node.state.txn import Applied, Define, Insert, Txn, decode_outcome, encode_txn  # noqa: E402

GOALS = {1: 250, 16: 2000, 64: 3500}
SHAPES = {1: (1, 1), 16: (2, 8), 64: (4, 16)}
"""Processes and threads of each, by concurrency."""
TABLE = Table(name="bench", indexes=(("project_id",),))


class NullMachine:
    """Answers without storing: what the log alone costs."""

    applied_index = 0

    def apply(self, index: int, entry: bytes) -> list[bytes]:
        self.applied_index = index
        count = len(msgspec.msgpack.decode(entry, type=list[bytes]))
        return [msgspec.msgpack.encode(Applied(seq=index))] * count

    def checkpoint(self) -> None:
        return

    def snapshot_to(self, path: Path) -> int:
        raise NotImplementedError

    def restore_from(self, path: Path) -> None:
        raise NotImplementedError


def core(directory: Path, kind: str, profile: str) -> None:
    machine = Machine(directory / "state.db") if kind == "rows" else NullMachine()
    consensus = Consensus(
        machine, directory, directory / "core.sock", RaftSettings(node_id="bench")
    )
    if profile:
        run = consensus._run  # noqa: SLF001
        profiler = cProfile.Profile()
        consensus._run = lambda: profiler.runcall(run)  # noqa: SLF001
    consensus.start()
    consensus.propose(encode_txn(Txn(request_id="define", ops=(Define(TABLE),))), 5)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "cpu":
            print(json.dumps([time.process_time(), *_rss_mib()]), flush=True)
    consensus.stop()
    if profile:
        profiler.dump_stats(profile)


def _rss_mib() -> list[float]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return [pages * os.sysconf("SC_PAGE_SIZE") / 2**20]


def worker(directory: Path, threads: int, seconds: float) -> None:
    client = ProposalClient(directory / "core.sock")
    ids = RandomIds()
    latencies: list[list[float]] = [[] for _ in range(threads)]
    begin = threading.Event()

    def loop(mine: list[float]) -> None:
        begin.wait()
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            row_id = ids.uuid()
            document = json.dumps({"id": row_id, "project_id": row_id[:8], "name": "x" * 330})
            txn = Txn(request_id=ids.request_id(), ops=(Insert("bench", row_id, document),))
            outcome = decode_outcome(client.propose(encode_txn(txn), 30.0))
            assert isinstance(outcome, Applied), outcome
            mine.append(time.perf_counter() - start)

    running = [threading.Thread(target=loop, args=(mine,)) for mine in latencies]
    for thread in running:
        thread.start()
    print("ready", flush=True)
    sys.stdin.readline()
    begin.set()
    for thread in running:
        thread.join()
    print(json.dumps(sorted(one for mine in latencies for one in mine)))
    print(time.process_time())


def _spawn(*args: object) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, __file__, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def _tell(process: "subprocess.Popen[str]", line: str) -> None:
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _cpu(process: "subprocess.Popen[str]") -> list[float]:
    _tell(process, "cpu")
    return json.loads(process.stdout.readline())


def measure(args: argparse.Namespace, directory: Path, concurrency: int) -> dict[str, float]:
    profile = f"{args.profile}.{concurrency}" if args.profile else ""
    server = _spawn(
        "--role", "core", "--dir", directory, "--machine", args.machine, "--profile", profile
    )
    processes, threads = SHAPES[concurrency]
    shape = (
        "--role",
        "worker",
        "--dir",
        directory,
        "--threads",
        threads,
        "--seconds",
        args.seconds,
    )
    workers = [_spawn(*shape) for _ in range(processes)]
    before = _cpu(server)
    for one in workers:
        _tell(one, "go")
    outputs = [one.communicate()[0].splitlines() for one in workers]
    after = _cpu(server)
    server.communicate()
    latencies = sorted(x for out in outputs for x in json.loads(out[0]))
    client_cpu = sum(float(out[1]) for out in outputs)
    count = len(latencies)
    return {
        "rate": count / args.seconds,
        "p50": latencies[count // 2] * 1e3,
        "p99": latencies[int(count * 0.99)] * 1e3,
        "core_ms": (after[0] - before[0]) / count * 1e3,
        "client_ms": client_cpu / count * 1e3,
        "rss": after[1],
    }


def bare_fsync(directory: Path, seconds: float = 1.0) -> dict[str, float]:
    """Time 4 KiB overwrites with fdatasync."""
    descriptor = os.open(directory / "fsync", os.O_RDWR | os.O_CREAT)
    block = os.urandom(4096)
    os.pwrite(descriptor, block * 256, 0)
    os.fsync(descriptor)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        os.pwrite(descriptor, block, len(times) % 256 * 4096)
        os.fdatasync(descriptor)
        times.append(time.perf_counter() - start)
    os.close(descriptor)
    times.sort()
    count = len(times)
    return {
        "rate": count / seconds,
        "p50": times[count // 2] * 1e3,
        "p99": times[int(count * 0.99)] * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--dir", type=Path, default=None, help="a directory on the disk to measure")
    parser.add_argument("--machine", choices=("rows", "null"), default="rows")
    parser.add_argument("--profile", default="", help="write cProfile statistics of the loop here")
    parser.add_argument("--role", default="", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role == "core":
        core(args.dir, args.machine, args.profile)
    elif args.role == "worker":
        worker(args.dir, args.threads, args.seconds)
    else:
        report(args)


def report(args: argparse.Namespace) -> None:
    head = f"{'commits, fsync':<16}{'goal/s':>8}{'per s':>8}{'p50 ms':>9}{'p99 ms':>9}"
    print(f"{head}{'core ms':>9}{'client ms':>11}{'RSS MiB':>9}{'load':>7}")
    with tempfile.TemporaryDirectory(dir=args.dir, prefix="commits-") as name:
        directory = Path(name)
        row = bare_fsync(directory)
        line = (
            f"{'bare fdatasync':<16}{'':>8}{row['rate']:>8.0f}{row['p50']:>9.2f}{row['p99']:>9.2f}"
        )
        print(f"{line}{'':>29}{os.getloadavg()[0]:>7.1f}")
        for concurrency, goal in GOALS.items():
            place = directory / str(concurrency)
            place.mkdir()
            row = measure(args, place, concurrency)
            line = (
                f"{f'concurrency {concurrency}':<16}{goal:>8}{row['rate']:>8.0f}{row['p50']:>9.2f}"
            )
            line += f"{row['p99']:>9.2f}{row['core_ms']:>9.3f}{row['client_ms']:>11.3f}{row['rss']:>9.0f}"
            verdict = "" if row["rate"] >= goal else "  below the goal"
            print(f"{line}{os.getloadavg()[0]:>7.1f}{verdict}", flush=True)


if __name__ == "__main__":
    main()
