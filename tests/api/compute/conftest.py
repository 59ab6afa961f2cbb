"""A cloud with compute, one node, an image and a network that stand in for their plugins."""

from collections.abc import Sequence
from typing import Any

import pytest

from node import sdk
from node.plugins import compute
from node.plugins.compute.tables import Flavor
from node.sdk import (
    FixedIp,
    ImageFacts,
    NodeRow,
    PortPlan,
    PortRequest,
    PortState,
    hookimpl,
    insert,
)
from node.testing import Cloud

IMAGE = "70a599e0-31e7-49b7-b260-868f441e862b"
NETWORK = "c0d6a1f0-9d4a-4a3e-8b0c-1f6f0f0a0001"
SUBNET = "c0d6a1f0-9d4a-4a3e-8b0c-1f6f0f0a0002"
MEGABYTE = 1 << 20


class ServerPort(sdk.Row, kw_only=True):
    """A port of the stand-in network."""

    __table__ = sdk.Table(name="test_ports", indexes=(("server_id",),), unique=(("address",),))

    server_id: str
    address: str
    node_id: str = ""


class FakeNetwork:
    """A network of one subnet: the least that the port hooks promise, over real rows."""

    @hookimpl
    def row_types(self) -> list[type[sdk.Row]]:
        return [ServerPort]

    @hookimpl
    def port_plan(self, ctx: Any, request: PortRequest) -> PortPlan:
        wishes = (sdk.PortWish(network_id=NETWORK),) if request.wishes is None else request.wishes
        taken = {port.address for port in ctx.db.rows(ServerPort)}
        ops, ids = [], []
        for wish in wishes:
            if wish.network_id != NETWORK:
                raise sdk.NotFound(f"Network {wish.network_id} could not be found.")
            free = (f"10.0.0.{n}" for n in range(2, 255) if f"10.0.0.{n}" not in taken)
            address = wish.fixed_ip or next(free)
            taken.add(address)
            ids.append(ctx.ids.uuid())
            row = ServerPort(
                id=ids[-1],
                server_id=request.server_id,
                address=address,
                node_id=request.node_id,
            )
            ops.append(insert(row))
        return PortPlan(ops=tuple(ops), port_ids=tuple(ids), created=(True,) * len(ids))

    @hookimpl
    def port_bind(
        self, db: sdk.Reader, server_id: str, node_id: str | None, port_ids: Sequence[str] | None
    ) -> list[Any]:
        ports = db.rows(ServerPort, server_id=server_id)
        meant = [port.id for port in ports if port_ids is None or port.id in port_ids]
        if node_id is None:
            return [sdk.delete(ServerPort, one) for one in meant]
        return [sdk.patch(ServerPort, one, node_id=node_id) for one in meant]

    @hookimpl
    def port_states(self, db: sdk.Reader, server_ids: Sequence[str]) -> dict[str, list[PortState]]:
        found: dict[str, list[PortState]] = {server_id: [] for server_id in server_ids}
        for port in db.rows(ServerPort, server_id=list(server_ids)):
            ip = FixedIp(
                address=port.address,
                version=4,
                subnet_id=SUBNET,
                cidr="10.0.0.0/24",
                gateway="10.0.0.1",
            )
            found[port.server_id].append(
                PortState(
                    id=port.id,
                    network_id=NETWORK,
                    network_name="private",
                    mac=f"fa:16:3e:00:00:{int(port.address.rpartition('.')[2]) - 1:02x}",
                    tap=f"tap{port.id[:11]}",
                    mtu_bytes=1450,
                    fixed_ips=(ip,),
                    plugged=True,
                    security_groups=("default",),
                )
            )
        return found


class FakeImages(sdk.NoImages):
    """Images by id."""

    def __init__(self) -> None:
        self.by_id = {IMAGE: image()}

    @hookimpl
    def images(self) -> sdk.Images:
        return self

    def facts(self, db: sdk.Reader, image_id: str) -> ImageFacts | None:
        return self.by_id.get(image_id)


def image(**fields: Any) -> ImageFacts:
    return ImageFacts(
        **{
            "id": IMAGE,
            "name": "guest",
            "status": "active",
            "disk_format": "qcow2",
            "container_format": "bare",
            "size_bytes": 8 * MEGABYTE,
            "virtual_size_bytes": 64 * MEGABYTE,
            "min_disk_gib": 0,
            "min_ram_mib": 0,
            "project_id": "images",
            "visibility": "public",
            **fields,
        }
    )


def node_row(name: str = "node-1", **fields: Any) -> NodeRow:
    resources = {"vcpus": 4, "memory_mib": 4096, "disk_gib": 100, **fields}
    return NodeRow(id=name, name=name, address="192.0.2.1", created_at=1, **resources)


@pytest.fixture
def images() -> FakeImages:
    return FakeImages()


@pytest.fixture
def cloud(tmp_path: Any, images: FakeImages) -> Cloud:
    cloud = Cloud(tmp_path, [compute, FakeNetwork(), images])
    cloud.commit(
        insert(node_row()),
        insert(Flavor(id="1", name="m1.tiny", memory_mib=64, vcpus=1, disk_gib=1, created_at=1)),
        insert(Flavor(id="2", name="m1.small", memory_mib=128, vcpus=1, disk_gib=2, created_at=2)),
    )
    return cloud
