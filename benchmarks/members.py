"""Nodes that come, follow and idle: real core processes on loopback, without the API.

    python benchmarks/members.py [--dir DIR] [--idle 3,5,9] [--idle-seconds 20] [--mib 200] [--learners 100]

Idle CPU and memory of a core among 3, 5 and 9; how long a new node takes from its start to its first write; the same
where it has 200 MiB of rows to fetch; and what a hundred nodes without a vote cost three with one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from catchup import fill  # noqa: E402
from cluster import Members, drive  # noqa: E402

from node.cluster.client import ProposalClient  # noqa: E402
from node.state.reader import STATE_FILE  # noqa: E402
from node.state.txn import Txn, encode_txn  # noqa: E402
from tests.probe.core_cluster import CoreNode, CoreSite  # noqa: E402

MOST_VOTERS = 5
GOAL_JOIN_S = 10.0
PARCEL = 20
"""Learners of one process."""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def say(text: str) -> None:
    print(f"{text}  (load {os.getloadavg()[0]:.1f})", flush=True)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def memory_mib(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def pids(site: CoreSite) -> list[int]:
    return [node.process.pid for node in site.nodes.values() if node.process is not None]


def idle(directory: Path, count: int, seconds: float) -> None:
    """A cluster in which nobody asks anything."""
    names = [f"n{number}" for number in range(count)]
    site = CoreSite(directory, names, founders=3)
    try:
        site.start(*names[:3])
        site.until_voters(*names[:3])
        for name in names[3:]:
            site.start(name)
        most = min(count, MOST_VOTERS)
        site.until(
            "all follow",
            lambda: list(site.nodes["n0"].roles().values()).count("voter") == most
            and len(site.nodes["n0"].roles()) == count,
        )
        time.sleep(5)
        before = {pid: cpu_s(pid) for pid in pids(site)}
        time.sleep(seconds)
        if any(node.process is not None and node.process.poll() is not None for node in site.nodes.values()):
            raise SystemExit(f"a node ended by itself:\n{site.told()}")
        used = sorted((cpu_s(pid) - was) / seconds * 100 for pid, was in before.items())
        rss = max(memory_mib(pid, "Rss") for pid in before)
        pss = max(memory_mib(pid, "Pss") for pid in before)
        say(
            f"{count} nodes idle: core CPU {used[len(used) // 2]:.2f} % (busiest {used[-1]:.2f} %), "
            f"memory at most {rss:.0f} MiB RSS, {pss:.0f} PSS"
        )
    finally:
        site.close()


def first_write_s(site: CoreSite, name: str) -> tuple[float, CoreNode]:
    """Start a new node and return after how many seconds it has taken a write."""
    fresh = site.add(name)
    begin = time.monotonic()
    fresh.start()
    site.until(f"{name} is a member", lambda: fresh.applied() > 0, timeout_s=600)
    fresh.put(f"of {name}")
    return time.monotonic() - begin, fresh


def join(directory: Path, mib: int) -> None:
    """New nodes, before and after there is much to fetch."""
    site = CoreSite(directory, ("a", "b", "c"), founders=3)
    try:
        site.start()
        site.until_voters("a", "b", "c")
        site.define("a")
        times = sorted(first_write_s(site, f"j{number}")[0] for number in range(3))
        verdict = "" if times[-1] <= GOAL_JOIN_S else "  MISSED"
        say(f"a node joins: {times[1]:.1f} s to its first write, at most {times[2]:.1f} (goal 10){verdict}")
        for number in range(3):
            site.nodes[f"j{number}"].end()
        fill(site.nodes["a"], mib)
        size = (site.nodes["a"].state / STATE_FILE).stat().st_size >> 20
        took_s, _ = first_write_s(site, "late")
        say(f"a node joins {size} MiB of rows: {took_s:.1f} s to its first write")
    finally:
        site.close()


def learners(directory: Path, count: int) -> None:
    """Three voters, and nodes that follow them: some in each process."""
    members = Members(directory, 3, learners=count)
    parcels: list[subprocess.Popen[str]] = []
    try:
        for name in members.names:
            members.start(name)
        members.ready()
        leader = members.leader()
        members.define(leader)
        rows = [(0, drive(members, [leader], 16, 4.0))]
        for begin in range(0, count, PARCEL):
            parcels.append(members.start_learners(begin, min(begin + PARCEL, count)))
            for parcel in parcels[-1:]:
                assert parcel.stdout is not None
                assert parcel.stdout.readline() == "ready\n"
            if begin + PARCEL in (PARCEL, count):
                _follow(members, leader)
                rows.append((begin + PARCEL, drive(members, [members.leader()], 16, 4.0)))
                _follow(members, leader)
        for number, row in rows:
            say(
                f"{number:3} learners: {row['rate']:.0f} commits/s at concurrency 16, p50 {row['p50']:.1f} ms, "
                f"p99 {row['p99']:.1f} ms, voters' CPU {row['core_ms']:.2f} ms a commit"
            )
        before, began = members.cpu_s(), time.monotonic()
        time.sleep(10)
        used = (members.cpu_s() - before) / (time.monotonic() - began) * 100
        say(f"{count} learners, idle: {used:.1f} % of a core for the three voters together")
    finally:
        for parcel in parcels:
            parcel.kill()
            parcel.wait()
        for name in list(members.running):
            members.kill(name)


def _follow(members: Members, leader: str) -> None:
    """Wait until the last learner is where the leader is."""
    began = time.monotonic()
    client = ProposalClient(members.socket(leader))
    client.propose(encode_txn(Txn(request_id=f"follow {began}", ops=())), 60)
    wanted = members.applied(leader)
    while (behind := members.behind(wanted)) and time.monotonic() - began < 300:
        time.sleep(0.1)
    say(f"all learners follow after {time.monotonic() - began:.1f} s" + (f", but {behind}" if behind else ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", default="/var/tmp")
    parser.add_argument("--idle", default="3,5,9")
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    parser.add_argument("--mib", type=int, default=200)
    parser.add_argument("--learners", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.dir, prefix="hgmembers-") as name:
        place = Path(name)
        for count in [int(part) for part in given.idle.split(",") if part]:
            (place / f"idle-{count}").mkdir()
            idle(place / f"idle-{count}", count, given.idle_seconds)
        if given.mib:
            (place / "join").mkdir()
            join(place / "join", given.mib)
        if given.learners:
            (place / "learners").mkdir()
            learners(place / "learners", given.learners)


if __name__ == "__main__":
    main()
