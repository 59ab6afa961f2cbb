"""The object store beside OpenStack Swift, on the same machine and in the same run, one after the other in each cell.

    python benchmarks/object.py --swift VENV --memcached PROGRAM [--quick] [--seconds 2]

Both keep objects on 8 directories of one disk, with three copies (`rep3`) and coded 4+2 (`ec42`). Ours is the store
with its process behind our API server (2 workers), and the least that an object API does. Every byte read is counted.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.load import Load, drive, request  # noqa: E402
from benchmarks.object_swift import Swift, free_port  # noqa: E402
from node.plugins.object.store.data_disk import make_mark  # noqa: E402
from node.plugins.object.store.layout import Disk, DiskMap, Layout, PolicySpec  # noqa: E402
from node.plugins.object.store.map_file import SOCKET_FILE, store_directory, write_map  # noqa: E402

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_DISKS = 8
_SIZES = {"4K": 4096, "64K": 65536, "1M": 1 << 20, "64M": 64 << 20}


class Ours:
    """Our store behind our API server."""

    path = "/bench"
    token = "none"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        disks = []
        for number in range(_DISKS):
            path = self._directory / f"d{number}"
            make_mark(path, f"disk{number}")
            disks.append(Disk(id=f"disk{number}", node_id="node-1", path=str(path)))
        policies = (
            PolicySpec(name="rep3", data=3, is_default=True),
            PolicySpec(name="ec42", kind="ec", data=4, parity=2),
        )
        layouts = (Layout(number=1, disks=tuple(disks)),)
        directory = store_directory(self._directory)
        write_map(directory, DiskMap(node_id="node-1", layouts=layouts, policies=policies))
        store = ["-m", "node.plugins.object.store.process", str(self._directory), str(os.getpid()), "{}"]
        server = [str(ROOT / "benchmarks/object_server.py"), str(self._directory), str(self.port)]
        self._spawn(store)
        self._spawn([*server, str(free_port())])
        deadline = time.monotonic() + 30
        while not ((directory / SOCKET_FILE).exists() and self._is_up()):
            assert time.monotonic() < deadline, (self._directory / "log").read_text()
            time.sleep(0.2)

    def _is_up(self) -> bool:
        try:
            drive(self.port, [request("GET", "/bench/rep3", {})], concurrency=1)
        except OSError:
            return False
        return True

    def _spawn(self, arguments: list[str]) -> None:
        with (self._directory / "log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, *arguments], stdout=log, stderr=log, cwd=ROOT,
                    start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
                )
            )  # fmt: skip

    def roots(self) -> list[int]:
        return [process.pid for process in self._processes]

    def stop(self) -> None:
        for process in self._processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def tree(roots: list[int]) -> list[int]:
    """Return processes and their descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            parents[int(entry)] = int(text.rpartition(")")[2].split()[1])
    found = set(roots)
    while fresh := {p for p, parent in parents.items() if parent in found} - found:
        found |= fresh
    return sorted(found & parents.keys())


def cpu_s(roots: list[int]) -> float:
    """Return the CPU seconds of processes and their descendants so far."""
    total = 0.0
    for pid in tree(roots):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) * _TICK_S
    return total


def memory_mib(roots: list[int]) -> tuple[int, float, float]:
    """Return how many processes there are, and their RSS and PSS."""
    pids = tree(roots)
    rss = pss = 0.0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("Rss", "Pss"):
                size = int(rest.split()[0]) / 1024
                rss, pss = (rss + size, pss) if name == "Rss" else (rss, pss + size)
    return len(pids), rss, pss


class Bench:
    """Cells, each measured on ours and on Swift."""

    def __init__(self, targets: "dict[str, Ours | Swift]", seconds: float) -> None:
        self.targets = targets
        self.seconds = seconds
        self.known: dict[tuple[str, str, str], int] = {}

    def _head(self, target: "Ours | Swift") -> dict[str, str]:
        return {"X-Auth-Token": target.token, "X-Object-Meta-Colour": "green"}

    def _puts(self, target: "Ours | Swift", policy: str, size: str, who: str) -> Iterator[bytes]:
        body = os.urandom(1024) * (_SIZES[size] // 1024)
        while True:
            number = self.known.get((who, policy, size), 0)
            self.known[who, policy, size] = number + 1
            path = f"{target.path}/{policy}/{size}-{number}"
            yield request("PUT", path, self._head(target), body)

    def _gets(self, target: "Ours | Swift", policy: str, size: str, who: str) -> Iterator[bytes]:
        count = self.known[who, policy, size] - 1
        number = 0
        while True:
            path = f"{target.path}/{policy}/{size}-{number % max(1, count)}"
            yield request("GET", path, {"X-Auth-Token": target.token})
            number += 1

    def _deletes(self, target: "Ours | Swift", policy: str, size: str, who: str) -> Iterator[bytes]:
        for number in range(self.known[who, policy, size] - 1):
            path = f"{target.path}/{policy}/{size}-{number}"
            yield request("DELETE", path, {"X-Auth-Token": target.token})

    def cell(self, method: str, policy: str, size: str, concurrency: int) -> None:
        """Measure and print one cell."""
        found: dict[str, tuple[Load, float]] = {}
        for who, target in self.targets.items():
            source = {"PUT": self._puts, "GET": self._gets, "DELETE": self._deletes}[method]
            before = cpu_s(target.roots())
            load = drive(
                target.port, source(target, policy, size, who),
                concurrency=concurrency, seconds=self.seconds,
            )  # fmt: skip
            load.must_be({"PUT": 201, "GET": 200, "DELETE": 204}[method])
            if method == "GET" and load.body_bytes != load.count * _SIZES[size]:
                raise SystemExit(f"{who} sent {load.body_bytes} bytes in {load.count} answers")
            found[who] = load, (cpu_s(target.roots()) - before) / load.count * 1000
        self.row(f"{method} {size} {policy} c={concurrency}", found)

    def row(self, name: str, found: dict[str, tuple[Load, float]]) -> None:
        """Print one row: rates, milliseconds, CPU seconds per 1000 operations, and the ratios."""
        cells = [
            f"{load.rate:8.1f}/s {load.percentile_ms(0.5):8.1f} ms {cpu:7.2f} s/k"
            for load, cpu in found.values()
        ]
        ratio = ""
        if len(found) == 2:
            (ours, our_cpu), (theirs, their_cpu) = found.values()
            ratio = f"{ours.rate / theirs.rate:6.1f}x {their_cpu / max(our_cpu, 1e-3):6.1f}x CPU"
        load1 = os.getloadavg()[0]
        print(f"{name:22} {'  |  '.join(cells)}  {ratio}  load {load1:.1f}", flush=True)

    def listing(self, count: int) -> None:
        """Fill a container's names and read one page of them."""
        found = {}
        for who, target in self.targets.items():
            have = self.known.get((who, "rep3", "4K"), 0)
            body = b"x" * 16
            more = (
                request("PUT", f"{target.path}/rep3/z{n:06}", self._head(target), body)
                for n in range(max(0, count - have))
            )
            drive(target.port, more, concurrency=16).must_be(201)
            path = f"{target.path}/rep3?format=json&limit={count}"
            page = [request("GET", path, {"X-Auth-Token": target.token})] * 10
            before = cpu_s(target.roots())
            load = drive(target.port, page, concurrency=1).must_be(200)
            found[who] = load, (cpu_s(target.roots()) - before) / load.count * 1000
        self.row(f"list of {count}", found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swift", type=Path, help="a virtual environment with swift and pyeclib")
    parser.add_argument("--memcached", default="memcached")
    parser.add_argument("--library-path", default="", help="LD_LIBRARY_PATH of memcached")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--quick", action="store_true", help="fewer cells, a second of each")
    parser.add_argument("--dir", type=Path, default=None)
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="hedgerow-bench-", dir=given.dir))
    targets: dict[str, Ours | Swift] = {"ours": Ours(place / "ours")}
    (place / "ours").mkdir()
    if given.swift:
        (place / "swift").mkdir()
        targets["swift"] = Swift(place / "swift", given.swift, given.memcached, given.library_path)
    try:
        for target in targets.values():
            target.start()
        print("ours | swift: operations a second, p50, server CPU seconds per 1000; then ours / Swift")
        bench = Bench(targets, 1.0 if given.quick else given.seconds)
        cells = [1, 8, 32] if not given.quick else [8]
        for policy in ("rep3", "ec42"):
            for size in ("4K", "64K", "1M"):
                for method in ("PUT", "GET"):
                    for concurrency in cells:
                        bench.cell(method, policy, size, concurrency)
            for method in ("PUT", "GET"):
                for concurrency in (1, 4) if not given.quick else (1,):
                    bench.cell(method, policy, "64M", concurrency)
        bench.listing(10_000 if not given.quick else 2_000)
        for policy in ("rep3", "ec42"):
            bench.cell("DELETE", policy, "4K", 8)
        for who, target in targets.items():
            count, rss, pss = memory_mib(target.roots())
            print(f"{who}: {count} processes, RSS {rss:.0f} MiB, PSS {pss:.0f} MiB")
    finally:
        for target in targets.values():
            target.stop()
        shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
