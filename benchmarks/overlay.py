"""What a network that spans nodes costs: two machines (namespaces), the real data plane, iperf3 between guests.

    sudo python benchmarks/overlay.py [--seconds N]

Three ways: between the machines' own addresses (bare veth pairs and a bridge), between guests of one machine, and
between guests of two machines through VXLAN. Guests have port security and security groups, as in real life. TCP hides
the cost of packets (GSO), so small segments and small datagrams are measured too. Needs root, iperf3, nft, dnsmasq.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from node.plugins.network.tables import Port  # noqa: E402
from tests.netns.fabric import Fabric, Machine  # noqa: E402
from tests.netns.site import eventually  # noqa: E402

PORTS = 1000
WAYS = {"TCP Gbit/s": [], "MSS 536 Gbit/s": ["-M", "536"], "UDP 64 B kpps": ["-u", "-b0", "-l64"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5, help="length of each stream")
    seconds = parser.parse_args().seconds
    with (
        tempfile.TemporaryDirectory(prefix="hedgerow-bench-") as directory,
        Fabric(Path(directory), 2) as fabric,
    ):
        throughput(fabric, seconds)
    with (
        tempfile.TemporaryDirectory(prefix="hedgerow-bench-") as directory,
        Fabric(Path(directory), 2) as fabric,
    ):
        entries(fabric)


def throughput(fabric: Fabric, seconds: int) -> None:
    """Print the table of streams."""
    one, two = fabric.machines
    _network, subnet = fabric.network(segmentation_id=4242)
    group = fabric.group({"direction": "ingress"})
    fields: dict[str, Any] = {"security_group_ids": (group.id,)}
    left = fabric.on(one, subnet, "10.0.0.11", **fields)
    near = fabric.on(one, subnet, "10.0.0.12", **fields)
    far = fabric.on(two, subnet, "10.0.0.13", **fields)
    fabric.settle()
    for guest in (left, near, far):
        guest.dhcp()
        guest.run("ip", "link", "set", "eth0", "mtu", "1450")
    print(f"{'way':<34}" + "".join(f"{name:>16}" for name in WAYS) + f"{'load':>8}")
    pairs = (
        ("machines, bare veth", one.namespace, two.namespace, two.address),
        ("guests of one machine", left.namespace, near.namespace, "10.0.0.12"),
        ("guests of two machines, VXLAN", left.namespace, far.namespace, "10.0.0.13"),
    )
    for name, source, target, address in pairs:
        found = [stream(source, target, address, options, seconds) for options in WAYS.values()]
        figures = "".join(f"{value:>16.2f}" for value in found)
        print(f"{name:<34}{figures}{os.getloadavg()[0]:>8.1f}", flush=True)


def stream(source: str, target: str, address: str, options: list[str], seconds: int) -> float:
    """Return Gbit/s, or thousands of packets a second that arrived."""
    inside = ["ip", "netns", "exec"]
    with subprocess.Popen(
        [*inside, target, "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL
    ) as server:
        listens = [*inside, target, "ss", "-ltn"]
        eventually(
            lambda: ":5201 " in subprocess.run(listens, capture_output=True, text=True, check=True).stdout,
            "iperf3 does not listen",
        )  # fmt: skip
        argv = [*inside, source, "iperf3", "-J", "-c", address, "-t", str(seconds), *options]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        server.wait(30)
    end = json.loads(done.stdout)["end"]
    if "-u" in options:
        arrived = end["sum"]["packets"] - end["sum"]["lost_packets"]
        return float(arrived / end["sum"]["seconds"] / 1e3)
    return float(end["sum_received"]["bits_per_second"] / 1e9)


def entries(fabric: Fabric) -> None:
    """Print what a thousand ports on another node cost this one, all at once and one at a time."""
    one, two = fabric.machines
    network, subnet = fabric.network("10.0.0.0/20", segmentation_id=4242)
    guest = fabric.on(one, subnet, "10.0.0.11")
    one.settle()
    ports = [
        fabric.port(subnet, f"10.0.{number // 200 + 1}.{number % 200 + 1}", node_id=two.node_id,
                    mac_address=f"fa:16:3e:01:{number // 250:02x}:{number % 250:02x}")
        for number in range(PORTS)
    ]  # fmt: skip
    one.planes.overlay.doubt(network.id)
    took = timed(one, lambda: look(one, network.id))
    print(f"{PORTS} ports on the other node, first look: {took * 1e3:.0f} ms")
    changed = fabric.update(ports[5], node_id=one.node_id)
    took = timed(one, lambda: change(one, changed))
    print(f"one of them moves: {took * 1e3:.2f} ms")
    one.planes.overlay.doubt(network.id)
    took = timed(one, lambda: look(one, network.id))
    print(f"comparing everything with the kernel: {took * 1e3:.0f} ms")
    del guest


def look(machine: Machine, network_id: str) -> None:
    """Look at one network's tunnel."""
    overlay = next(one for one in machine.reconcilers if one.name == "network.overlay")
    overlay.reconcile(network_id)


def change(machine: Machine, port: Port) -> None:
    """Do what the notice of a changed port leads to."""
    overlay = next(one for one in machine.reconcilers if one.name == "network.overlay")
    for key in overlay.affected(Port, port.id):
        overlay.reconcile(key)


def timed(machine: Machine, work: Callable[[], None]) -> float:
    """Return how many seconds work takes on a machine."""

    def measured() -> float:
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    return machine.do(measured)


if __name__ == "__main__":
    main()
