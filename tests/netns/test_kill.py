"""kill -9 at any moment leaves nothing behind that the next look does not mend or remove."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from node.plugins.network.names import bridge_name, dhcp_namespace, router_namespace
from node.plugins.network.tables import IpAllocation, Port, Router, Subnet, tap_name
from tests.netns.site import Site, run

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(280)]

ROUNDS = 12
REPO = Path(__file__).parents[2]


def _killed_at_some_point(site: Site, patience_s: float) -> None:
    argv = [sys.executable, "-m", "tests.netns.busy_plane", str(site.directory)]
    busy = subprocess.Popen(argv, cwd=REPO, stdout=subprocess.PIPE)
    try:
        assert busy.stdout is not None
        assert busy.stdout.readline() == b"ready\n"
        time.sleep(patience_s)  # the moment of death is what is drawn here
    finally:
        busy.send_signal(signal.SIGKILL)
        busy.wait()
        if busy.stdout is not None:
            busy.stdout.close()


def _dnsmasqs(site: Site) -> int:
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            count += f"--pid-file={site.planes.dhcp.directory}" in (process / "cmdline").read_text()
        except OSError:
            continue
    return count


def test_killed_at_random_points(site: Site) -> None:
    draw = random.Random(20261122)
    _net, external = site.network("203.0.113.0/24", dhcp=False, external=True)
    group = site.group({"protocol": "icmp", "direction": "ingress"})
    worlds: list[tuple[Subnet, Router, list[Port]]] = []
    for number in range(ROUNDS):
        if not worlds or (len(worlds) < 3 and draw.random() < 0.5):
            _network, subnet = site.network()
            router = site.router(external, f"203.0.113.{10 + number}", subnet)
            worlds.append((subnet, router, []))
        subnet, _router, ports = draw.choice(worlds)
        for address in draw.sample(range(20, 200), 2):
            ports.append(site.port(subnet, f"10.0.0.{address}", security_group_ids=(group.id,)))
        if len(ports) > 3:
            for port in (ports.pop(0), ports.pop(0)):
                allocation = f"{subnet.id}/{port.fixed_ips[0].ip_address}"
                site.drop(port, site.db.must(IpAllocation, allocation))
        _killed_at_some_point(site, draw.uniform(0.0, 0.6))

    site.settle()
    found = site.planes.inventory()
    served = [world for world in worlds if world[2]]
    networks = [subnet.network_id for subnet, _router, _ports in served]
    assert found["taps"] == sorted(tap_name(port.id) for _s, _r, ports in served for port in ports)
    assert found["bridges"] == sorted(bridge_name(one) for one in (*networks, external.network_id))
    assert found["namespaces"] == sorted(
        [
            *map(dhcp_namespace, networks),
            *(router_namespace(router.id) for _s, router, _p in served),
        ]
    )
    assert len(found["veths"]) == 3 * len(served)
    assert _dnsmasqs(site) == len(served)

    site.drop(*(port for _s, _r, ports in worlds for port in ports))
    site.settle()
    left = site.planes.inventory()
    assert left["taps"] == left["veths"] == left["namespaces"] == left["dhcp"] == []
    assert left["bridges"] == [bridge_name(external.network_id)]
    assert _dnsmasqs(site) == 0
    ruleset = run("nft", "list", "ruleset")
    assert "tap" not in ruleset
    assert "jump" not in ruleset
