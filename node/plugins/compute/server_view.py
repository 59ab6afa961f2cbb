"""Servers as Nova shows them, by microversion.

`_SINCE` lists the fields that microversions added; each is computed by the function of that name in `_FIELDS`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from node.plugins.compute import server_rules
from node.plugins.compute.flavor_view import embedded
from node.plugins.compute.link_view import bookmark, self_links
from node.plugins.compute.names import instance_name
from node.plugins.compute.placement_rules import zone_of
from node.plugins.compute.server_lookup import Surroundings, host_id
from node.plugins.compute.tables import Server, ServerGone, ServerVolume
from node.sdk import Context, Frozen, PortState, iso_utc

_PROGRESS = frozenset({"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"})
_FAULTY = frozenset({"ERROR", "DELETED"})


class Rights(Frozen):
    """What of a server the caller may see."""

    attributes: bool
    host_status: bool
    extra_specs: bool
    admin: bool


def rights(ctx: Context) -> Rights:
    """Ask the policies once for a whole list."""
    target = {"project_id": ctx.token.project_id, "user_id": ctx.token.user_id}
    return Rights(
        attributes=ctx.allows("os_compute_api:os-extended-server-attributes", target),
        host_status=ctx.allows("os_compute_api:servers:show:host_status", target),
        extra_specs=ctx.allows("os_compute_api:os-flavor-extra-specs:index", target),
        admin=ctx.token.is_admin,
    )


def summary(ctx: Context, server: Server) -> dict[str, Any]:
    """Return a server's entry in the plain list."""
    return {"id": server.id, "name": server.name, "links": self_links(ctx, "servers", server.id)}


def common(ctx: Context, server: Server, around: Surroundings, seen: Rights) -> dict[str, Any]:
    """Return what show, update and rebuild have in common."""
    node = around.nodes.get(server.node_id)
    status = server_rules.status(server)
    body: dict[str, Any] = {
        **summary(ctx, server),
        "status": status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": server.metadata,
        "hostId": host_id(server.project_id, node.name if node else ""),
        "image": {"id": server.image_id, "links": bookmark(ctx, "images", server.image_id)}
        if server.image_id
        else "",
        "flavor": _flavor(ctx, server, seen),
        "created": iso_utc(server.created_at),
        "updated": iso_utc(server.updated_at),
        "addresses": plain(addresses(around.ports.get(server.id, ()))),
        "accessIPv4": server.access_ipv4,
        "accessIPv6": server.access_ipv6,
        "OS-DCF:diskConfig": server.disk_config,
    }
    if status in _PROGRESS:
        body["progress"] = server.progress
    if status in _FAULTY and server.fault:
        body["fault"] = _fault(server, seen)
    for name, since in _SINCE.items():
        if ctx.microversion >= since:
            body[name] = _FIELDS[name](server)
    return body


def detail(ctx: Context, server: Server, around: Surroundings, seen: Rights) -> dict[str, Any]:
    """Return a server in full, as in the detailed list."""
    body = common(ctx, server, around, seen)
    node = around.nodes.get(server.node_id)
    deleted_at = server.deleted_at if isinstance(server, ServerGone) else 0
    body |= {
        "addresses": addresses(around.ports.get(server.id, ())),
        "key_name": server.key_name or None,
        "config_drive": "True" if server.config_drive else "",
        "OS-SRV-USG:launched_at": _when(server.launched_at),
        "OS-SRV-USG:terminated_at": _when(deleted_at),
        "OS-EXT-AZ:availability_zone": zone_of(node) if node else server.requested_zone,
        "OS-EXT-STS:task_state": server_rules.task_state(server) if not deleted_at else None,
        "OS-EXT-STS:vm_state": server_rules.vm_state(server),
        "OS-EXT-STS:power_state": server_rules.power_state(server),
        "os-extended-volumes:volumes_attached": [
            _volume(ctx, row) for row in around.volumes.get(server.id, ())
        ],
    }
    groups = security_groups(around.ports.get(server.id, ()))
    if groups:
        body["security_groups"] = [{"name": name} for name in groups]
    if seen.attributes:
        body |= _attributes(ctx, server, around)
    elif ctx.microversion >= (2, 90):
        body["OS-EXT-SRV-ATTR:hostname"] = server.hostname
    if ctx.microversion >= (2, 16) and seen.host_status:
        body["host_status"] = around.host_status(server.node_id)
    return body


def _volume(ctx: Context, row: ServerVolume) -> dict[str, Any]:
    if ctx.microversion < (2, 3):
        return {"id": row.volume_id}
    return {"id": row.volume_id, "delete_on_termination": row.delete_on_termination}


def addresses(ports: Iterable[PortState]) -> dict[str, list[dict[str, Any]]]:
    """Return the addresses of a server by name of the network, floating ones behind the fixed ones."""
    found: dict[str, list[dict[str, Any]]] = {}
    for port in ports:
        entries = found.setdefault(port.network_name, [])
        entries += [_address(ip.address, ip.version, "fixed", port) for ip in port.fixed_ips]
        entries += [
            _address(ip, 6 if ":" in ip else 4, "floating", port) for ip in port.floating_ips
        ]
    return {name: entries for name, entries in found.items() if entries}


def _address(address: str, version: int, kind: str, port: PortState) -> dict[str, Any]:
    return {
        "version": version,
        "addr": address,
        "OS-EXT-IPS:type": kind,
        "OS-EXT-IPS-MAC:mac_addr": port.mac,
    }


def plain(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return addresses without what extensions added: kind and MAC."""
    return {
        name: [{"version": entry["version"], "addr": entry["addr"]} for entry in entries]
        for name, entries in found.items()
    }


def security_groups(ports: Iterable[PortState]) -> list[str]:
    """Return the names of the security groups that any interface has."""
    return list(dict.fromkeys(name for port in ports for name in port.security_groups))


def _when(at_us: int) -> str | None:
    return iso_utc(at_us, suffix="", micros=True) if at_us else None


def _flavor(ctx: Context, server: Server, seen: Rights) -> dict[str, Any]:
    assert server.flavor is not None
    if ctx.microversion >= (2, 47):
        return embedded(server.flavor, extra_specs=seen.extra_specs)
    return {"id": server.flavor.id, "links": bookmark(ctx, "flavors", server.flavor.id)}


def _fault(server: Server, seen: Rights) -> dict[str, Any]:
    body = {
        "code": server.fault_code,
        "created": iso_utc(server.fault_at or server.updated_at),
        "message": server.fault[:255],
    }
    if server.fault_details and (seen.admin or server.fault_code != 500):
        body["details"] = server.fault_details
    return body


def _attributes(ctx: Context, server: Server, around: Surroundings) -> dict[str, Any]:
    node = around.nodes.get(server.node_id)
    host = node.name if node else None
    fields: dict[str, Any] = {
        "host": host,
        "hypervisor_hostname": host,
        "instance_name": instance_name(server.id),
    }
    if ctx.microversion >= (2, 3):
        extra = around.extras.get(server.id)
        fields |= {
            "reservation_id": server.reservation_id,
            "launch_index": server.launch_index,
            "hostname": server.hostname,
            "kernel_id": "",
            "ramdisk_id": "",
            "root_device_name": server.root_device,
            "user_data": (extra.user_data or None) if extra else None,
        }
    return {f"OS-EXT-SRV-ATTR:{name}": value for name, value in fields.items()}


_SINCE: Mapping[str, tuple[int, int]] = {
    "locked": (2, 9),
    "description": (2, 19),
    "tags": (2, 26),
    "trusted_image_certificates": (2, 63),
    "locked_reason": (2, 73),
    "pinned_availability_zone": (2, 96),
}
_FIELDS: Mapping[str, Callable[[Server], Any]] = {
    "locked": lambda server: server.locked,
    "description": lambda server: server.description,
    "tags": lambda server: server.tags,
    "trusted_image_certificates": lambda _server: None,
    "locked_reason": lambda server: server.locked_reason,
    "pinned_availability_zone": lambda server: server.requested_zone or None,
}
