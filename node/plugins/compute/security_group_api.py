"""Nova's old security groups (up to 2.35): a proxy to Neutron's.

Source: https://docs.openstack.org/api-ref/compute/#security-groups-os-security-groups-deprecated
"""

import ipaddress
from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.compute import listing
from node.plugins.compute.checks import integer, is_uuid
from node.plugins.compute.neutron import listed, neutron
from node.plugins.compute.security_group_view import group_view, rule_view
from node.plugins.compute.server_action_route import server_action
from node.plugins.compute.server_lookup import find as find_server
from node.sdk import BadRequest, Conflict, Context, Frozen, NotFound, Route

_POLICY = "os_compute_api:os-security-groups"
_PROTOCOLS = frozenset({"tcp", "udp", "icmp"})


class Group(Frozen):
    """`security_group` of a request."""

    name: str
    description: str


class GroupBody(Frozen):
    """Body of POST and PUT os-security-groups."""

    security_group: Group


class Rule(Frozen):
    """`security_group_rule` of a request."""

    parent_group_id: str
    ip_protocol: str | None = None
    from_port: int | str | None = None
    to_port: int | str | None = None
    cidr: str | UnsetType | None = UNSET
    group_id: str | None = None


class RuleBody(Frozen):
    """Body of POST os-security-group-rules."""

    security_group_rule: Rule


def _names(ctx: Context) -> dict[str, dict[str, Any]]:
    return {group["id"]: group for group in listed(ctx, "security-groups")}


def _checked(group_id: str, what: str = "Security group") -> str:
    if not is_uuid(group_id):
        raise BadRequest(f"{what} id should be uuid")
    return group_id


def _text(value: str, field: str) -> str:
    if not value.strip() or len(value) > 255:
        raise BadRequest(f"Security group {field} should have from 1 to 255 characters")
    return value


def index(ctx: Context) -> dict[str, Any]:
    """List the project's groups."""
    names = _names(ctx)
    wanted = list(names.values())
    if not (ctx.token.is_admin and listing.boolean(ctx.param("all_tenants"))):
        wanted = [group for group in wanted if group["project_id"] == ctx.project_id]
    wanted.sort(key=lambda group: (group["project_id"], group["name"]))
    start = ctx.param("offset", "0") or "0"
    if not (start.isascii() and start.isdigit()):
        raise BadRequest("offset param must be an integer")
    wanted = wanted[int(start[:9]) :][: listing.limit(ctx)]
    return {"security_groups": [group_view(group, names) for group in wanted]}


def show(ctx: Context, group_id: str) -> dict[str, Any]:
    """Show a group."""
    found = neutron(ctx, "GET", f"/security-groups/{_checked(group_id)}")["security_group"]
    return {"security_group": group_view(found, _names(ctx))}


def create(ctx: Context) -> dict[str, Any]:
    """Create a group; it has no ingress rules."""
    group: Group = ctx.body.security_group
    wanted = {
        "name": _text(group.name, "name"),
        "description": _text(group.description, "description"),
    }
    made = neutron(ctx, "POST", "/security-groups", json={"security_group": wanted})
    return {"security_group": group_view(made["security_group"], {})}


def update(ctx: Context, group_id: str) -> dict[str, Any]:
    """Rename a group."""
    group: Group = ctx.body.security_group
    wanted = {
        "name": _text(group.name, "name"),
        "description": _text(group.description, "description"),
    }
    path = f"/security-groups/{_checked(group_id)}"
    changed = neutron(ctx, "PUT", path, json={"security_group": wanted})
    return {"security_group": group_view(changed["security_group"], _names(ctx))}


def delete(ctx: Context, group_id: str) -> None:
    """Delete a group that no port uses."""
    try:
        neutron(ctx, "DELETE", f"/security-groups/{_checked(group_id)}")
    except Conflict as error:
        raise BadRequest(error.message) from error


def create_rule(ctx: Context) -> dict[str, Any]:
    """Add an ingress rule to a group."""
    rule: Rule = ctx.body.security_group_rule
    _checked(rule.parent_group_id)
    wanted: dict[str, Any] = {
        "security_group_id": rule.parent_group_id,
        "direction": "ingress",
        "ethertype": "IPv4",
        **_ports(rule),
    }
    if rule.group_id is not None:
        wanted["remote_group_id"] = _checked(rule.group_id)
    else:
        wanted |= _peer(rule.cidr)
    try:
        made = neutron(ctx, "POST", "/security-group-rules", json={"security_group_rule": wanted})
    except Conflict as error:
        raise BadRequest(error.message) from error
    return {"security_group_rule": rule_view(made["security_group_rule"], _names(ctx))}


def _peer(cidr: str | UnsetType | None) -> dict[str, Any]:
    """Return a CIDR, as it was written, in Neutron's form."""
    text = cidr if isinstance(cidr, str) else "0.0.0.0/0"
    try:
        version = ipaddress.ip_network(text, strict=False).version
    except ValueError:
        raise BadRequest(f"Invalid cidr {text}.") from None
    return {"remote_ip_prefix": text, "ethertype": f"IPv{version}"}


def _ports(rule: Rule) -> dict[str, Any]:
    """Return protocol and ports in Neutron's form."""
    if rule.ip_protocol is None and rule.group_id is not None and rule.from_port is None:
        return {}
    protocol = str(rule.ip_protocol).lower()
    if protocol not in _PROTOCOLS:
        raise BadRequest(f"Invalid IP protocol {rule.ip_protocol}.")
    if rule.from_port is None or rule.to_port is None:
        if rule.group_id is not None and rule.from_port is rule.to_port:
            return {"protocol": protocol}
        raise BadRequest(
            f"Valid TCP ports should be between 1 and 65535: {rule.from_port}-{rule.to_port}"
        )
    low, high = integer(rule.from_port, "from_port", -1), integer(rule.to_port, "to_port", -1)
    if protocol == "icmp":
        if low > 255 or high > 255:
            raise BadRequest(
                f"Invalid port range {low}:{high}. Valid ICMP type and code are -1 to 255"
            )
        icmp = {"port_range_min": low, "port_range_max": high}
        return {"protocol": protocol, **{name: value for name, value in icmp.items() if value >= 0}}
    if not 1 <= low <= high <= 65535:
        raise BadRequest(
            f"Invalid port range {low}:{high}. Valid TCP ports should be between 1-65535"
        )
    return {"protocol": protocol, "port_range_min": low, "port_range_max": high}


def delete_rule(ctx: Context, rule_id: str) -> None:
    """Remove a rule."""
    neutron(ctx, "DELETE", f"/security-group-rules/{_checked(rule_id, 'Security group rule')}")


def of_server(ctx: Context, server_id: str) -> dict[str, Any]:
    """List the groups of a server's interfaces."""
    server = find_server(ctx, server_id, f"{_POLICY}:list")
    ports = listed(ctx, "ports", device_id=server.id)
    used = {group for port in ports for group in port["security_groups"]}
    names = _names(ctx)
    return {"security_groups": [group_view(names[id], names) for id in sorted(used) if id in names]}  # noqa: A001


class GroupName(Frozen, forbid_unknown_fields=True):
    """Value of addSecurityGroup and removeSecurityGroup."""

    name: str


def _group_id(ctx: Context, wanted: str) -> str:
    """Return the id of a group that is named by id or name."""
    found = [g for g in listed(ctx, "security-groups") if g["id"] == wanted] or [
        g for g in listed(ctx, "security-groups", name=wanted) if g["project_id"] == ctx.project_id
    ]
    if not found:
        raise NotFound(f"Security group {wanted} not found for project {ctx.project_id}")
    if len(found) > 1:
        raise Conflict(
            f"Multiple security groups found matching '{wanted}'. Use an ID to be more specific."
        )
    return str(found[0]["id"])


def _regroup(ctx: Context, server_id: str, verb: str) -> None:
    server = find_server(ctx, server_id, f"{_POLICY}:{verb}")
    if not ctx.body.name.strip():
        raise BadRequest("Missing parameter security group name")
    group_id = _group_id(ctx, ctx.body.name)
    ports = listed(ctx, "ports", device_id=server.id)
    if not ports:
        raise BadRequest(f"instance_id {server.id} could not be found as device id on any ports")
    if verb == "remove" and not any(group_id in port["security_groups"] for port in ports):
        raise NotFound(
            f"Security group {ctx.body.name} not associated with the instance {server.id}"
        )
    for port in ports:
        has: list[str] = port["security_groups"]
        wanted = [g for g in has if g != group_id] if verb == "remove" else [*has, group_id]
        if set(wanted) == set(has) or not (port["fixed_ips"] and port["port_security_enabled"]):
            continue
        neutron(ctx, "PUT", f"/ports/{port['id']}", json={"port": {"security_groups": wanted}})


def add(ctx: Context, server_id: str) -> None:
    """Put a server's interfaces into a group."""
    _regroup(ctx, server_id, "add")


def remove(ctx: Context, server_id: str) -> None:
    """Take a server's interfaces out of a group."""
    _regroup(ctx, server_id, "remove")


def _old(method: str, path: str, handler: Any, status: int = 200, body: Any = None) -> Route:
    return Route(
        method=method,
        path=f"/v2.1/{path}",
        handler=handler,
        policy=f"{_POLICY}:proxy",
        status=status,
        body=body,
        until="2.35",
    )


ROUTES = (
    _old("GET", "os-security-groups", index),
    _old("POST", "os-security-groups", create, body=GroupBody),
    _old("GET", "os-security-groups/{group_id}", show),
    _old("PUT", "os-security-groups/{group_id}", update, body=GroupBody),
    _old("DELETE", "os-security-groups/{group_id}", delete, 202),
    _old("POST", "os-security-group-rules", create_rule, body=RuleBody),
    _old("DELETE", "os-security-group-rules/{rule_id}", delete_rule, 202),
    Route(
        method="GET",
        path="/v2.1/servers/{server_id}/os-security-groups",
        handler=of_server,
        policy=f"{_POLICY}:list",
    ),
    server_action("addSecurityGroup", add, f"{_POLICY}:add", GroupName),
    server_action("removeSecurityGroup", remove, f"{_POLICY}:remove", GroupName),
)
