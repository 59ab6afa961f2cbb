"""The light way in which pyroute2 is loaded leaves it whole for others."""

import subprocess
import sys


def _run(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_socket_needs_a_part_of_it_only() -> None:
    code = "from node.plugins.network.drivers import netlink; import sys; print(*sys.modules)"
    loaded = set(_run(code))
    assert "pyroute2.iproute.linux" in loaded
    assert not {"pyroute2.ndb.main", "pyroute2.plan9", "pyroute2.ethtool.ethtool"} & loaded


def test_a_plugin_finds_the_whole_of_it() -> None:
    code = (
        "from node.plugins.network.drivers.netlink import _IPRoute\n"
        "from pyroute2 import NDB, IPRoute\n"
        "import pyroute2\n"
        "print(IPRoute is _IPRoute, NDB.__module__, pyroute2.netlink.exceptions.__name__)"
    )
    assert _run(code) == ["True", "pyroute2.ndb.main", "pyroute2.netlink.exceptions"]
