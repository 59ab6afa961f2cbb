"""Fresh nodes started at the same moment, as processes in namespaces: packet loss, splits that heal, power cuts.

As a program it runs any number of trials: `python -m tests.netns.test_formation TRIALS [SEED [MORE]]`. With MORE
there are that many machines more than the token names, and splits last longer than anybody waits for founders.
"""

import contextlib
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from node.cluster.token import make
from node.ids import RandomIds

REPO = Path(__file__).resolve().parents[2]
PATIENCE_S = 180.0
NEEDED = ("ip", "nft")


def run(*argv: str, ok: bool = True) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert not (ok and done.returncode), f"{' '.join(argv)}: {done.stderr}"


class Place:
    """A switch with some machines, each a namespace; the network between them can be hurt."""

    def __init__(self, directory: Path, count: int, founders: int) -> None:
        """Take how many machines there are; where they are more than founders the token names these."""
        self.tag = secrets.token_hex(3)
        self.directory = directory
        self.count = count
        names = [f"n{node}" for node in range(founders)] if count > founders else []
        self.token = make(RandomIds(), founders=founders, names=names).text
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.switch = f"hgf-{self.tag}-s"

    def open(self) -> None:
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        run("ip", "-n", self.switch, "link", "set", "br0", "up")
        for node in range(self.count):
            name = self.name(node)
            run("ip", "netns", "add", name)
            run(
                "ip", "link", "add", "eth0", "netns", name, "type", "veth",
                "peer", "name", f"p{node}", "netns", self.switch,
            )  # fmt: skip
            run("ip", "-n", self.switch, "link", "set", f"p{node}", "master", "br0", "up")
            run("ip", "-n", name, "address", "add", f"{self.address(node)}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", "eth0", "up")

    def close(self) -> None:
        for node in list(self.processes):
            self.kill(node)
        for name in (self.switch, *map(self.name, range(self.count))):
            run("ip", "netns", "del", name, ok=False)

    def name(self, node: int) -> str:
        return f"hgf-{self.tag}-{node}"

    def address(self, node: int) -> str:
        return f"10.99.0.{node + 1}"

    def start(self, node: int) -> None:
        if node in self.processes:
            return
        with (self.directory / f"log-{node}").open("ab") as errors:
            self.processes[node] = subprocess.Popen(
                [
                    "ip", "netns", "exec", self.name(node),
                    sys.executable, "-m", "tests.netns.formation_node",
                    str(self.directory / f"n{node}"), self.address(node), self.token,
                ],
                cwd=REPO,
                stdout=(self.directory / f"out-{node}").open("wb"),
                stderr=errors,
                text=True,
            )  # fmt: skip

    def kill(self, node: int) -> None:
        """Take a node's power."""
        process = self.processes.pop(node, None)
        if process is not None:
            process.kill()
            process.wait()

    def hurt(self, *, loss_percent: int = 0, sides: Sequence[int] = ()) -> None:
        """Lose packets, and cut those of one side from the other one; nothing given heals everything."""
        rules = ["add table bridge hurt", "delete table bridge hurt", "add table bridge hurt"]
        rules.append("add chain bridge hurt f { type filter hook forward priority 0; }")
        for one, side in enumerate(sides):
            for other, other_side in enumerate(sides):
                if side != other_side:
                    rules.append(f"add rule bridge hurt f iif p{one} oif p{other} drop")
        if loss_percent:
            rules.append(f"add rule bridge hurt f numgen random mod 100 < {loss_percent} drop")
        text = "\n".join(rules)
        done = subprocess.run(
            ["ip", "netns", "exec", self.switch, "nft", "-f", "-"],
            input=text, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert not done.returncode, done.stderr

    def answers(self) -> list[dict[str, str]]:
        """Return what the nodes that are members say."""
        found = []
        for node in range(self.count):
            path = self.directory / f"out-{node}"
            with contextlib.suppress(OSError, ValueError):
                found.append(json.loads(path.read_text()))
        return found

    def founders(self) -> list[int]:
        return [n for n in range(self.count) if (self.directory / f"n{n}" / "founded").exists()]


@contextlib.contextmanager
def placed(directory: Path, count: int, founders: int) -> Iterator[Place]:
    place = Place(directory, count, founders)
    try:
        place.open()
        yield place
    finally:
        place.close()


def trial(directory: Path, seed: int, more: int = 0) -> tuple[int, float, str]:
    """Run one trial; return nodes, seconds to the last member, and what was done to it."""
    rng = random.Random(seed)
    founders = rng.choice((1, 3, 3, 3, 5))
    count = founders + more
    loss = rng.choice((0, 5, 15, 30))
    with placed(directory, count, founders) as place:
        sides = [rng.randrange(2) for _ in range(count)] if more or rng.random() < 0.5 else []
        cut_s = rng.uniform(2, 45 if more else 15) if sides else 0.0
        crash = rng.randrange(count) if rng.random() < 0.5 else -1
        crash_s = rng.uniform(1, 8)
        did = f"loss {loss}%, sides {sides} for {cut_s:.0f} s, crash of {crash} at {crash_s:.0f} s"
        place.hurt(loss_percent=loss, sides=sides)
        began_s = time.monotonic()
        for node in rng.sample(range(count), count):
            place.start(node)
        is_cut, is_crashed = bool(sides), crash < 0
        while True:
            past_s = time.monotonic() - began_s
            if is_cut and past_s > cut_s:
                place.hurt(loss_percent=loss)
                is_cut = False
            if not is_crashed and past_s > crash_s:
                place.kill(crash)
                (place.directory / f"out-{crash}").unlink(missing_ok=True)
                place.start(crash)
                is_crashed = True
            found = place.answers()
            if len(found) == count and not is_cut and is_crashed:
                break
            assert past_s < PATIENCE_S, f"seed {seed}: {did}: members {found}"
            time.sleep(0.1)
        assert len({one["ca"] for one in found}) == 1, f"seed {seed}: {did}: {found}"
        assert not any(one["error"] for one in found), f"seed {seed}: {did}: {found}"
        assert len(place.founders()) == 1, f"seed {seed}: {did}: founders {place.founders()}"
        return count, time.monotonic() - began_s, did


@pytest.mark.parametrize("seed", [3])
def test_exactly_one_cluster(tmp_path: Path, seed: int) -> None:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}")
    trial(tmp_path, seed)


def main(trials: int, first: int, more: int) -> None:
    for seed in range(first, first + trials):
        with tempfile.TemporaryDirectory() as directory:
            count, seconds, did = trial(Path(directory), seed, more)
            print(f"seed {seed}: {count} nodes, {seconds:.1f} s; {did}", flush=True)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]] + [0, 0]
    main(*given[:3])
