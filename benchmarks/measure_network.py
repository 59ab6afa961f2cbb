"""Networks, ports, security groups."""

import itertools
import time

from cloud import Cloud
from report import Report

_NET = "/network/v2.0"


def ports(cloud: Cloud, report: Report, seconds: float) -> None:
    """Create and list ports: on one network with a subnet that holds them all."""
    cloud.call(
        "PUT",
        f"{_NET}/quotas/{cloud.project_id}",
        {"quota": {"port": -1, "network": -1, "subnet": -1}},
    )
    network_id = _network(cloud, "bench-ports", "10.128.0.0/16")
    create = cloud.request("POST", f"{_NET}/ports", {"port": {"network_id": network_id}})
    cloud.settle()
    done = cloud.drive(itertools.repeat(create, 1000), 201, concurrency=8)
    report.line("port creates, concurrency 8", done.load.rate, done)
    present = len(cloud.call("GET", f"{_NET}/ports?network_id={network_id}")["ports"])
    report.note(f"{present} ports on the network that is listed")
    listed = cloud.request("GET", f"{_NET}/ports?network_id={network_id}")
    cloud.settle()
    done = cloud.drive(itertools.repeat(listed), 200, concurrency=1, seconds=seconds)
    size = done.load.body_bytes / done.load.count
    report.line(
        "list of 1000 ports, p50", done.load.percentile_ms(0.5), done, f"{size / 1024:.0f} KiB"
    )
    _remove(cloud, network_id)


def _network(cloud: Cloud, name: str, cidr: str) -> str:
    network = cloud.call("POST", f"{_NET}/networks", {"network": {"name": name}})["network"]
    subnet = {"network_id": network["id"], "cidr": cidr, "ip_version": 4}
    cloud.call("POST", f"{_NET}/subnets", {"subnet": subnet})
    return str(network["id"])


def _remove(cloud: Cloud, network_id: str) -> None:
    for port in cloud.call("GET", f"{_NET}/ports?network_id={network_id}")["ports"]:
        if not port["device_owner"].startswith("network:"):
            cloud.call("DELETE", f"{_NET}/ports/{port['id']}")
    cloud.call("DELETE", f"{_NET}/networks/{network_id}")


def triples(cloud: Cloud, report: Report, seconds: float) -> None:
    """Network, subnet and port, one after the other: the sum of the three requests' times."""
    cloud.call(
        "PUT",
        f"{_NET}/quotas/{cloud.project_id}",
        {"quota": {"port": -1, "network": -1, "subnet": -1}},
    )
    cloud.settle()
    times, cpu, client, ids = [], 0.0, 0.0, []
    end = time.monotonic() + seconds
    before = cloud.processes.cpu_s()
    began = time.process_time()
    while time.monotonic() < end:
        start = time.perf_counter()
        ids.append(_network(cloud, "bench-triple", "10.129.0.0/24"))
        cloud.call("POST", f"{_NET}/ports", {"port": {"network_id": ids[-1]}})
        times.append(time.perf_counter() - start)
    cpu, client = cloud.processes.cpu_s() - before, time.process_time() - began
    times.sort()
    report.plain(
        "network + subnet + port, p50",
        times[len(times) // 2] * 1e3,
        cpu / len(times) * 1e3,
        client / len(times) * 1e3,
        "three new connections; CPU of the three together",
    )
    for network_id in ids:
        _remove(cloud, network_id)


def rules(cloud: Cloud, report: Report, _seconds: float) -> None:
    """A hundred rules of one security group, one after the other."""
    cloud.call(
        "PUT",
        f"{_NET}/quotas/{cloud.project_id}",
        {"quota": {"security_group_rule": -1, "security_group": -1}},
    )
    group = cloud.call("POST", f"{_NET}/security-groups", {"security_group": {"name": "bench"}})
    group_id = group["security_group"]["id"]
    requests = [
        cloud.request(
            "POST",
            f"{_NET}/security-group-rules",
            {
                "security_group_rule": {
                    "security_group_id": group_id,
                    "direction": "ingress",
                    "protocol": "tcp",
                    "port_range_min": port,
                    "port_range_max": port,
                }
            },
        )
        for port in range(1000, 1100)
    ]
    cloud.settle()
    done = cloud.drive(requests, 201, concurrency=1)
    report.line("100 security group rules", done.load.seconds, done)
    cloud.call("DELETE", f"{_NET}/security-groups/{group_id}")
