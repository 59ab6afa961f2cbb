"""Servers in detail.

133 guests do not fit such a machine, and servers that failed to be placed have no ports. So rows like those of running
servers, each with a port and an address, are proposed straight to the core's socket, on a node that does not exist: no
reconciler acts on them. They are removed afterwards.
"""

import itertools
import json
import time

from cloud import Cloud
from report import Report

from node.cluster.client import SOCKET_FILE, ProposalClient
from node.ids import RandomIds
from node.plugins.compute.tables import FlavorFacts, Server
from node.plugins.network.tables import IpAllocation, Port, PortAddress
from node.state.txn import AnyOp, Applied, Txn, decode_outcome, delete, encode_txn, insert

_COUNT = 133
_NODE = "bench-node"


def servers(cloud: Cloud, report: Report, seconds: float) -> None:
    """List 133 servers with a port each."""
    ids = RandomIds()
    network_id, subnet_id, group_id = _surroundings(cloud)
    image = cloud.call("GET", "/image/v2/images")["images"][0]
    now = int(time.time() * 1e6)
    ops: list[AnyOp] = []
    for number in range(_COUNT):
        server_id, port_id, address = ids.uuid(), ids.uuid(), f"10.130.0.{number + 20}"
        ops += [
            insert(
                Server(
                    id=server_id, project_id=cloud.project_id, user_id=cloud.user_id, node_id=_NODE,
                    want="active", have="active", power=1, name=f"bench-{number}", hostname=f"bench-{number}",
                    image_id=image["id"], key_name="lab", flavor=FlavorFacts(
                        id="bench", name="bench", vcpus=1, memory_mib=128, disk_gib=1
                    ),
                    metadata={"role": "bench", "number": str(number)}, port_ids=[port_id], job=1, job_done=1,
                    job_kind="build", reservation_id="r-bench", created_at=now, updated_at=now, launched_at=now,
                )
            ),
            insert(
                Port(
                    id=port_id, project_id=cloud.project_id, network_id=network_id, device_id=server_id,
                    device_owner="compute:nova", node_id=_NODE, binding_host=_NODE, have="active",
                    mac_address=f"fa:16:3e:00:01:{number:02x}", security_group_ids=(group_id,),
                    fixed_ips=(PortAddress(subnet_id=subnet_id, ip_address=address),),
                    created_for_server=True, created_at=now, updated_at=now,
                )
            ),
            insert(
                IpAllocation(
                    id=f"{subnet_id}/{address}", subnet_id=subnet_id, ip_address=address, port_id=port_id,
                    created_at=now, updated_at=now,
                )
            ),
        ]  # fmt: skip
    _propose(cloud, ops)
    cloud.settle()
    answer = cloud.call("GET", "/compute/v2.1/servers/detail?name=bench-")
    addresses = sum(len(one["addresses"]) for one in answer["servers"])
    assert (len(answer["servers"]), addresses) == (_COUNT, _COUNT), json.dumps(answer)[:500]
    listed = cloud.request(
        "GET", "/compute/v2.1/servers/detail", headers={"X-OpenStack-Nova-API-Version": "2.96"}
    )
    done = cloud.drive(itertools.repeat(listed), 200, concurrency=1, seconds=seconds)
    size = done.load.body_bytes / done.load.count
    report.line(
        "133 servers in detail, p50", done.load.percentile_ms(0.5), done, f"{size / 1024:.0f} KiB"
    )
    _propose(cloud, [delete(type_of(op), op.id) for op in ops])
    cloud.call("DELETE", f"/network/v2.0/networks/{network_id}")


def type_of(op: AnyOp) -> type:
    """Return the row type of an insert."""
    return {"servers": Server, "ports": Port, "ip_allocations": IpAllocation}[op.table]


def _surroundings(cloud: Cloud) -> tuple[str, str, str]:
    network = cloud.call("POST", "/network/v2.0/networks", {"network": {"name": "bench-servers"}})[
        "network"
    ]
    subnet = {"network_id": network["id"], "cidr": "10.130.0.0/16", "ip_version": 4}
    made = cloud.call("POST", "/network/v2.0/subnets", {"subnet": subnet})["subnet"]
    groups = cloud.call("GET", f"/network/v2.0/security-groups?project_id={cloud.project_id}")
    return network["id"], made["id"], groups["security_groups"][0]["id"]


def _propose(cloud: Cloud, ops: list[AnyOp]) -> None:
    client = ProposalClient(cloud.state / SOCKET_FILE)
    for start in range(0, len(ops), 100):
        txn = Txn(request_id=RandomIds().uuid(), ops=tuple(ops[start : start + 100]))
        outcome = decode_outcome(client.propose(encode_txn(txn), 30.0))
        assert isinstance(outcome, Applied), outcome
