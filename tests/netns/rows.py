"""The rows of a test in namespaces, in a store that one node or several work from."""

from pathlib import Path
from typing import Any

from node.plugins.network.section import NetworkSection
from node.plugins.network.tables import (
    DHCP,
    FLOATING_IP,
    ROUTER_GATEWAY,
    ROUTER_INTERFACE,
    ROW_TYPES,
    FloatingIp,
    IpAllocation,
    Network,
    Port,
    PortAddress,
    Router,
    SecurityGroup,
    SecurityGroupMember,
    SecurityGroupRule,
    Subnet,
)
from node.sdk import Applied, Frozen, Reader, Row, ServerMetadata, delete, hookimpl, insert, patch
from node.testing.cloud import Cloud

NODE = "node-1"


class Rows:
    """Stands for the network and compute plugins: row types, and the metadata of servers."""

    def __init__(self) -> None:
        self.metadata: dict[str, dict[str, bytes]] = {}

    @hookimpl
    def row_types(self) -> tuple[type[Row], ...]:
        """Return the network's rows."""
        return ROW_TYPES

    @hookimpl
    def config_sections(self) -> dict[str, type[Frozen]]:
        """Return the network's section."""
        return {"network": NetworkSection}

    @hookimpl
    def metadata_of(self, server_id: str) -> ServerMetadata | None:
        """Return what the test gave a server."""
        files = self.metadata.get(server_id)
        return ServerMetadata(files=files) if files is not None else None


class Store:
    """A store, and rows as tests want them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.rows = Rows()
        self.cloud = Cloud(directory, [self.rows], node_id=NODE)
        self._macs = 0

    @property
    def db(self) -> Reader:
        """Return a reader."""
        return self.cloud.db

    def store(self, *rows: Row) -> None:
        """Store rows."""
        outcome = self.cloud.commit(*(insert(row) for row in rows))
        assert isinstance(outcome, Applied), outcome

    def update(self, row: Row, **fields: Any) -> Any:
        """Change fields of a row and return it as it is then."""
        outcome = self.cloud.commit(patch(type(row), row.id, **fields))
        assert isinstance(outcome, Applied), outcome
        return self.db.must(type(row), row.id)

    def drop(self, *rows: Row) -> None:
        """Delete rows."""
        self.cloud.commit(*(delete(type(row), row.id) for row in rows))

    def mac(self) -> str:
        """Return a fresh MAC."""
        self._macs += 1
        return f"fa:16:3e:00:00:{self._macs:02x}"

    def fresh(self) -> dict[str, Any]:
        """Return what every row has."""
        now = self.cloud.clock.now_us()
        return {
            "id": self.cloud.ids.uuid(),
            "created_at": now,
            "updated_at": now,
            "project_id": "project-1",
        }

    def network(
        self, cidr: str = "10.0.0.0/24", *, dhcp: bool = True, **fields: Any
    ) -> tuple[Network, Subnet]:
        """Make a network with one subnet whose gateway is .1 and whose DHCP port is .2."""
        network = Network(**self.fresh(), mtu_bytes=1442, **fields)
        prefix = cidr.rpartition("0/")[0]
        subnet = Subnet(
            **self.fresh(),
            network_id=network.id,
            cidr=cidr,
            ip_version=6 if ":" in cidr else 4,
            gateway_ip=f"{prefix}1",
            enable_dhcp=dhcp,
        )
        self.store(network, subnet)
        if dhcp:
            self.port(subnet, f"{prefix}2", device_owner=DHCP, node_id="")
        return network, subnet

    def port(self, subnet: Subnet, address: str, **fields: Any) -> Port:
        """Make a port: a server's on this node unless told otherwise."""
        row = {
            **self.fresh(),
            "device_owner": "compute:nova",
            "device_id": self.cloud.ids.uuid(),
            "node_id": NODE,
            "mac_address": self.mac(),
            **fields,
        }
        fixed = (PortAddress(subnet_id=subnet.id, ip_address=address),)
        port = Port(network_id=subnet.network_id, fixed_ips=fixed, **row)
        allocation = IpAllocation(
            id=f"{subnet.id}/{address}", subnet_id=subnet.id, ip_address=address, port_id=port.id
        )
        members = [
            SecurityGroupMember(
                id=f"{group}/{port.id}",
                security_group_id=group,
                port_id=port.id,
                addresses=(address,),
            )
            for group in port.security_group_ids
        ]
        self.store(port, allocation, *members)
        return port

    def group(
        self, *rules: dict[str, Any], egress: bool = True, stateful: bool = True
    ) -> SecurityGroup:
        """Make a security group with these rules; with `egress` it lets everything out."""
        group = SecurityGroup(**self.fresh(), name="test", stateful=stateful)
        self.store(group)
        listed = list(rules)
        if egress:
            listed += [{"direction": "egress", "ethertype": kind} for kind in ("IPv4", "IPv6")]
        for rule in listed:
            self.rule(group, **rule)
        return group

    def rule(self, group: SecurityGroup, **fields: Any) -> SecurityGroupRule:
        """Add a rule to a group."""
        base = self.fresh()
        rule = SecurityGroupRule(**base, security_group_id=group.id, signature=base["id"], **fields)
        self.store(rule)
        return rule

    def router(
        self, external: Subnet | None, address: str, *inner: Subnet, **fields: Any
    ) -> Router:
        """Make a router with the gateway addresses of `inner`, and `address` on `external`."""
        router = Router(**self.fresh(), node_id=NODE, **fields)
        if external is not None:
            port = self.port(
                external,
                address,
                device_owner=ROUTER_GATEWAY,
                device_id=router.id,
                node_id="",
                project_id="",
            )
            router = Router(
                **{name: getattr(router, name) for name in router.__struct_fields__}
                | {
                    "external_network_id": external.network_id,
                    "gateway_port_id": port.id,
                    "external_fixed_ips": port.fixed_ips,
                }
            )
        self.store(router)
        for subnet in inner:
            self.port(
                subnet,
                subnet.gateway_ip,
                device_owner=ROUTER_INTERFACE,
                device_id=router.id,
                node_id="",
            )
        return router

    def floating(self, external: Subnet, address: str, inner: Port, router: Router) -> FloatingIp:
        """Give a port a floating IP."""
        port = self.port(external, address, device_owner=FLOATING_IP, node_id="", project_id="")
        fip = FloatingIp(
            **self.fresh(),
            node_id=NODE,
            floating_network_id=external.network_id,
            address=address,
            floating_port_id=port.id,
            port_id=inner.id,
            fixed_ip_address=inner.fixed_ips[0].ip_address,
            router_id=router.id,
        )
        self.store(fip)
        return fip
