"""A virtual address on real interfaces: who has it is known to the neighbours, and the dead lose it."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.netns, pytest.mark.root, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
NETS = {4: "10.66.0.{}/24", 6: "fd66::{}/64"}


def ip(*words: str, netns: str = "") -> str:
    argv = ["ip", *(["-n", netns] if netns else []), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


class Wire:
    """A switch with an address of its own, and two nodes at it: three network namespaces."""

    def __init__(self) -> None:
        mark = secrets.token_hex(3)
        self.switch, self.nodes = f"vipsw{mark}", [f"vipa{mark}", f"vipb{mark}"]
        self.holders: list[subprocess.Popen[str]] = []

    def open(self) -> None:
        for netns in (self.switch, *self.nodes):
            ip("netns", "add", netns)
        ip("link", "add", "sw", "type", "bridge", netns=self.switch)
        ip("link", "set", "sw", "up", netns=self.switch)
        self._address(self.switch, "sw", 9)
        for number, netns in enumerate(self.nodes, 1):
            ip("link", "add", "name", f"p{number}", "type", "veth",
               "peer", "name", "eth0", "netns", netns, netns=self.switch)  # fmt: skip
            ip("link", "set", f"p{number}", "master", "sw", "up", netns=self.switch)
            ip("link", "set", "lo", "up", netns=netns)
            ip("link", "set", "eth0", "up", netns=netns)
            self._address(netns, "eth0", number)

    def _address(self, netns: str, link: str, number: int) -> None:
        for net in NETS.values():
            words = ("nodad",) if ":" in net else ()
            ip("addr", "add", net.format(number), "dev", link, *words, netns=netns)

    def hold(self, number: int, version: int) -> subprocess.Popen[str]:
        virtual, own = (NETS[version].format(one) for one in (100, number))
        argv = ["ip", "netns", "exec", self.nodes[number - 1], sys.executable,
                str(ROOT / "tests/netns/vip_holder.py"), virtual, own.split("/")[0]]  # fmt: skip
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        self.holders.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def mac(self, number: int) -> str:
        return str(
            json.loads(ip("-j", "link", "show", "eth0", netns=self.nodes[number - 1]))[0]["address"]
        )

    def known(self, version: int) -> str:
        """Return the hardware address under which the switch's own machine knows the virtual one."""
        virtual = NETS[version].format(100).split("/")[0]
        listed = json.loads(
            ip("-j", f"-{version}", "neigh", "show", "dev", "sw", netns=self.switch) or "[]"
        )
        return next((str(one.get("lladdr", "")) for one in listed if one["dst"] == virtual), "")

    def answers(self, version: int) -> bool:
        virtual = NETS[version].format(100).split("/")[0]
        argv = ["ip", "netns", "exec", self.switch, "ping", "-c1", "-W1", virtual]
        return subprocess.run(argv, check=False, capture_output=True).returncode == 0

    def has(self, number: int, version: int) -> bool:
        virtual = NETS[version].format(100).split("/")[0]
        return f" {virtual}/" in ip("addr", "show", "dev", "eth0", netns=self.nodes[number - 1])

    def close(self) -> None:
        for process in self.holders:
            process.kill()
            process.communicate()
        for netns in (*self.nodes, self.switch):
            subprocess.run(["ip", "netns", "delete", netns], check=False, capture_output=True)


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    try:
        made.open()
        yield made
    finally:
        made.close()


def eventually(test: Callable[[], bool], what: str) -> float:
    began = time.monotonic()
    while not test():
        assert time.monotonic() < began + 40, what
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.parametrize("version", [4, 6])
def test_the_address_moves_when_its_holder_dies_and_the_dead_one_loses_it(
    wire: Wire, version: int
) -> None:
    first = wire.hold(1, version)
    eventually(lambda: wire.answers(version), "the first holder answers")
    assert wire.known(version) == wire.mac(1)
    first.send_signal(signal.SIGKILL)
    assert wire.has(1, version)  # the kernel knows nothing yet
    wire.hold(2, version)
    eventually(lambda: wire.known(version) == wire.mac(2), "the neighbours are told of the second")
    took_s = eventually(lambda: not wire.has(1, version), "the dead one's kernel takes it away")
    print(f"the dead holder's address was away after {took_s:.1f} s")
    assert wire.answers(version) and wire.known(version) == wire.mac(2)


def test_it_is_given_up_at_once_in_order(wire: Wire) -> None:
    holder = wire.hold(1, 4)
    eventually(lambda: wire.has(1, 4), "it is held")
    holder.terminate()
    assert holder.wait(20) == 0
    assert not wire.has(1, 4)


def test_a_holder_that_hangs_loses_it_and_has_it_again(wire: Wire) -> None:
    holder = wire.hold(1, 4)
    eventually(lambda: wire.has(1, 4), "it is held")
    holder.send_signal(signal.SIGSTOP)
    eventually(lambda: not wire.has(1, 4), "the kernel takes it away")
    holder.send_signal(signal.SIGCONT)
    eventually(lambda: wire.has(1, 4), "it is held again")
