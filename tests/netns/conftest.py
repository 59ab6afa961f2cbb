"""A node of its own for each test: a namespace that stands for the machine, another for the world outside it."""

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.site import Site, run

_CLONE_NEWNET = 0x40000000
NEEDED = ("ip", "nft", "dnsmasq", "conntrack", "busybox", "curl")


def _enter(fd: int) -> None:
    try:
        if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter a namespace")
    finally:
        os.close(fd)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Run the test's thread, and all threads that it starts, in a namespace of its own."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'}")
    tag = secrets.token_hex(3)
    node, outside = f"hgt-{tag}-node", f"hgt-{tag}-out"
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    site: Site | None = None
    try:
        for name in (node, outside):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run(
            "ip",
            "-n",
            node,
            "link",
            "add",
            "uplink",
            "type",
            "veth",
            "peer",
            "name",
            "world",
            "netns",
            outside,
        )
        run("ip", "-n", node, "addr", "add", "198.18.0.2/24", "dev", "uplink")
        run("ip", "-n", node, "link", "set", "uplink", "up")
        run("ip", "-n", node, "route", "add", "default", "via", "198.18.0.1")
        run("ip", "-n", outside, "addr", "add", "198.18.0.1/24", "dev", "world")
        run("ip", "-n", outside, "link", "set", "world", "up")
        _enter(os.open(f"/run/netns/{node}", os.O_RDONLY | os.O_CLOEXEC))
        site = Site(tmp_path, tag, outside)
        yield site
    finally:
        try:
            if site is not None:
                site.close()
        finally:
            _enter(home)
            listed = subprocess.run(
                ["ip", "netns", "list"], capture_output=True, text=True, check=False
            ).stdout
            for name in [line.split()[0] for line in listed.splitlines() if f"hgt-{tag}-" in line]:
                subprocess.run(["ip", "netns", "del", name], check=False)
