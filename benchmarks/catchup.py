"""What writers feel while a new node takes over a large store: three core processes, a fourth joins.

Usage: python benchmarks/catchup.py [--mib 400] [--seconds 10] [--clients 4]
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from node.cluster.client import SOCKET_FILE, ProposalClient
from node.ids import RandomIds
from node.state.reader import STATE_FILE
from node.state.txn import Txn, encode_txn, put
from tests.probe.core_cluster import CoreNode, CoreSite, Thing

IDS = RandomIds()


class Writers:
    """Clients that write without pause, each with 500 bytes at a time, and note how long it took."""

    def __init__(self, node: CoreNode, count: int) -> None:
        self.times: list[float] = []
        self._end = threading.Event()
        self._client = ProposalClient(node.state / SOCKET_FILE)
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _work(self, worker: int) -> None:
        number = 0
        while not self._end.is_set():
            row = Thing(id=f"w{worker}-{number % 500}", text="x" * 500)
            txn = encode_txn(Txn(request_id=IDS.uuid(), ops=(put(row),)))
            begin = time.monotonic()
            self._client.propose(txn, 60.0)
            self.times.append(time.monotonic() - begin)
            number += 1

    def taken(self, name: str) -> float:
        times, self.times = sorted(self.times), []
        p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
        print(
            f"{name:28} {len(times):7} commits  p50 {p50 * 1e3:7.1f} ms  p99 {p99 * 1e3:7.1f} ms  "
            f"longest {times[-1] * 1e3:7.1f} ms",
            flush=True,
        )
        return p50

    def stop(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._client.close()


def fill(node: CoreNode, mib: int) -> None:
    client = ProposalClient(node.state / SOCKET_FILE)
    row_bytes, rows = 1000, 150
    for batch in range(mib * (1 << 20) // (row_bytes * rows)):
        text = f"{batch:016d}" * (row_bytes // 16 - 8)
        ops = tuple(put(Thing(id=f"f{batch}-{n}", text=text)) for n in range(rows))
        client.propose(encode_txn(Txn(request_id=IDS.uuid(), ops=ops)), 60.0)
    client.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--dir", default="/var/tmp")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.dir, prefix="hgcatch-") as place:
        site = CoreSite(Path(place), ("a", "b", "c"), founders=3)
        try:
            site.start()
            site.until_voters("a", "b", "c")
            run(site, given)
        finally:
            site.close()


def run(site: CoreSite, given: argparse.Namespace) -> None:
    leader = next(
        node for node in site.nodes.values() if "leader" in node.health().get("log", (0, ""))[1]
    )
    site.define(leader.name)
    begin = time.monotonic()
    fill(leader, given.mib)
    size = (leader.state / STATE_FILE).stat().st_size >> 20
    print(f"{size} MiB of rows, filled in {time.monotonic() - begin:.0f} s", flush=True)
    writers = Writers(leader, given.clients)
    try:
        time.sleep(3)
        writers.times.clear()
        time.sleep(given.seconds)
        before = writers.taken("three nodes")
        begin = time.monotonic()
        fresh = site.add("d")
        fresh.start()
        site.until(
            "the new node has the rows",
            lambda: fresh.applied() > 0 and leader.applied() - fresh.applied() < 500,
            timeout_s=600,
        )
        took_s = time.monotonic() - begin
        during = writers.taken(f"while a fourth joins ({took_s:.0f} s)")
        time.sleep(given.seconds)
        writers.taken("four nodes")
        print(f"p50 while it joins: {during / before:.1f} times that before")
    finally:
        writers.stop()
    for node in site.nodes.values():
        status = Path(f"/proc/{node.process.pid}/status").read_text() if node.process else ""
        peak = next((line.split()[1] for line in status.splitlines() if "VmHWM" in line), "0")
        print(f"{node.name}: at most {int(peak) >> 10} MiB of memory")


if __name__ == "__main__":
    main()
