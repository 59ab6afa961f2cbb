"""How long HTTP clients wait when the leader's machine is killed: a lab of three nodes, the whole daemon on each.

    sudo python benchmarks/failover.py [--kills 20] [--nodes 3] [--dir DIR]

A client writes without pause through each node (a network's description). The leader's daemon is killed with SIGKILL,
supervisor, core and API at once: how long until a node that lives answers a write again, and the longest time in which
a read through a node that lives was not answered. Beside it, what a whole node takes that nobody asks.
"""

import argparse
import itertools
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from members import cpu_s, memory_mib  # noqa: E402

from node.errors import NodeError  # noqa: E402
from node.lab import process  # noqa: E402
from node.lab.client import Rest  # noqa: E402
from node.lab.cluster import ClusterLab, cluster_lab  # noqa: E402
from node.lab.place import Place  # noqa: E402
from node.observe.admin import ask  # noqa: E402

GOAL_S = 2.0
_INSIDE = "HEDGEROW_BENCH_INSIDE"
_NETWORKS = "/network/v2.0/networks"


class Client:
    """Writes or reads through one node without pause, and notes when it was answered."""

    def __init__(self, rest: Rest, network_id: str, *, writes: bool) -> None:
        self.answered: list[float] = []
        self.is_wanted = True
        self._rest, self._path, self._writes = rest, f"{_NETWORKS}/{network_id}", writes
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        number = 0
        while self.is_wanted:
            number += 1
            body = {"network": {"description": f"{number}"}} if self._writes else None
            try:
                self._rest.call("PUT" if self._writes else "GET", self._path, body)
            except Exception:  # noqa: BLE001 - whatever it is, there was no answer
                time.sleep(0.02)
                continue
            self.answered.append(time.monotonic())
            time.sleep(0.01)

    def stop(self) -> None:
        self.is_wanted = False


def longest(times: list[float], since: float, until: float) -> float:
    """Return the longest pause between answers."""
    inside = [since, *(one for one in times if since <= one <= until), until]
    return max(later - earlier for earlier, later in itertools.pairwise(inside))


def leader_of(lab: ClusterLab) -> str:
    """Return who leads, as soon as exactly one node says that it does."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = [name for name in lab.names if _leads(lab, name)]
        if len(found) == 1:
            return found[0]
        time.sleep(0.1)
    raise SystemExit("nobody leads")


def _leads(lab: ClusterLab, name: str) -> bool:
    try:
        health = ask(lab.place.node(name).state, "status")["health"]
    except NodeError:
        return False
    return any(one["name"] == "log" and one["detail"].startswith("leader") for one in health)


def measure(lab: ClusterLab, kills: int) -> None:
    rests = {name: lab.rest(name) for name in lab.names}
    for rest in rests.values():
        rest.sign_in()
    made = rests[lab.names[0]].post(_NETWORKS, {"network": {"name": "failover"}})
    gaps, silences = [], []
    for number in range(kills):
        leader = leader_of(lab)
        clients = {
            (name, writes): Client(rest, made["network"]["id"], writes=writes)
            for name, rest in rests.items() if name != leader for writes in (True, False)
        }  # fmt: skip
        gap_s, silence_s = one_kill(lab, leader, clients)
        gaps.append(gap_s)
        silences.append(silence_s)
        print(f"kill {number + 1}, of {leader}: {gap_s:.2f} s without a write, {silence_s:.2f} s without a read "
              f"(load {os.getloadavg()[0]:.1f})", flush=True)  # fmt: skip
        lab.start([leader])
        lab.wait([leader], lambda _text: None)
        time.sleep(2.0)
    gaps.sort()
    silences.sort()
    p95 = gaps[max(0, math.ceil(len(gaps) * 0.95) - 1)]
    print(f"{kills} leaders killed: writes through HTTP were answered again after p50 {gaps[len(gaps) // 2]:.2f} s, "
          f"p95 {p95:.2f} s (goal {GOAL_S:.0f}){'' if p95 <= GOAL_S else '  MISSED'}, worst {gaps[-1]:.2f} s; "
          f"longest time without a read through one node: p50 {silences[len(silences) // 2]:.2f} s, "
          f"worst {silences[-1]:.2f} s")  # fmt: skip


def one_kill(lab: ClusterLab, leader: str, clients: dict[tuple[str, bool], Client]) -> tuple[float, float]:
    """Kill a leader; return the longest times without a write by anybody, and without a read through one node."""
    deadline = time.monotonic() + 60
    while any(len(one.answered) < 5 for one in clients.values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    writers = [one for (_, writes), one in clients.items() if writes]
    killed_s = time.monotonic()
    lab.kill(leader)
    gone_s = time.monotonic()
    while not any(one.answered and one.answered[-1] > gone_s + 0.2 for one in writers):
        if time.monotonic() - killed_s > 60:
            raise SystemExit("no write was answered for a minute")
        time.sleep(0.005)
    time.sleep(1.0)
    now_s = time.monotonic()
    for one in clients.values():
        one.stop()
    answered = sorted(at for one in writers for at in one.answered)
    reads = [one for (_, writes), one in clients.items() if not writes]
    return longest(answered, killed_s, now_s), max(longest(one.answered, killed_s, now_s) for one in reads)


def idle(lab: ClusterLab, seconds: float) -> None:
    """Print what a node takes that nobody asks."""
    pids = {name: process.everyone(lab.place.node(name)) for name in lab.names}
    before = {name: sum(map(cpu_s, some)) for name, some in pids.items()}
    time.sleep(seconds)
    for name, some in pids.items():
        used = (sum(map(cpu_s, some)) - before[name]) / seconds * 100
        rss = sum(memory_mib(pid, "Rss") for pid in some)
        pss = sum(memory_mib(pid, "Pss") for pid in some)
        print(f"{name} idle: {used:.2f} % of a core, {rss:.0f} MiB RSS ({pss:.0f} PSS) in {len(some)} processes "
              f"(load {os.getloadavg()[0]:.1f})", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    parser.add_argument("--dir", default="/var/tmp")
    given = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("The lab needs root")
    if os.environ.get(_INSIDE) != "yes":  # in a network namespace of its own
        words = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable, *sys.argv]
        os.execvpe(words[0], words, {**os.environ, _INSIDE: "yes"})
    directory = Path(tempfile.mkdtemp(dir=given.dir, prefix="hgfail-")) / "lab"
    hedgerow = [sys.executable, "-m", "node.cli", "lab", "--dir", str(directory)]
    try:
        subprocess.run([*hedgerow, "--nodes", str(given.nodes), "--no-server"], check=True, cwd=ROOT)
        lab = cluster_lab(Place(directory))
        time.sleep(5)
        idle(lab, given.idle_seconds)
        measure(lab, given.kills)
    finally:
        subprocess.run([*hedgerow, "--destroy"], check=False, cwd=ROOT)
        shutil.rmtree(directory.parent, ignore_errors=True)


if __name__ == "__main__":
    main()
