"""Interfaces that come and go while a server exists.

The rows change at once; the server's node plugs the guest when the port is there, whether it runs or not.

Source: https://docs.openstack.org/api-ref/compute/#create-interface
"""

import ipaddress
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import server_rules
from node.plugins.compute.checks import is_uuid
from node.plugins.compute.faults import field_error, unexpected
from node.plugins.compute.server_action_api import new_action
from node.plugins.compute.server_address_api import interface_view
from node.plugins.compute.server_lookup import find, ports_of
from node.plugins.compute.server_ops import bind_ops
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.tables import Server
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Frozen,
    NotFound,
    PortPlan,
    PortRequest,
    PortWish,
    Route,
    check,
    insert,
    patch,
)

_NIC = "os_compute_api:os-attach-interfaces"


class Address(Frozen, forbid_unknown_fields=True):
    """An entry of `fixed_ips`."""

    ip_address: str


class NewInterface(Frozen, forbid_unknown_fields=True):
    """Value of `interfaceAttachment`."""

    net_id: str | UnsetType = UNSET
    port_id: str | UnsetType = UNSET
    fixed_ips: Annotated[list[Address], msgspec.Meta(min_length=1, max_length=1)] | UnsetType = (
        UNSET
    )
    tag: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=60, pattern="^[^,/]*$")] | UnsetType
    ) = UNSET


class AttachBody(Frozen, forbid_unknown_fields=True):
    """Body of POST os-interface."""

    interfaceAttachment: NewInterface = NewInterface()  # noqa: N815 - the API's name


def attach(ctx: Context, server_id: str) -> dict[str, Any]:
    """Give a server one more interface."""
    wish = _wish(ctx, ctx.body.interfaceAttachment)

    def plan() -> tuple[list[AnyOp], str]:
        server = find(ctx, server_id, f"{_NIC}:create")
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, RULES["attach_interface"])
        planned = _plan(ctx, server, wish)
        port_ids = [*server.port_ids, *planned.port_ids]
        action = new_action(ctx, server, "attach_interface", done=True)
        change = patch(Server, server.id, port_ids=port_ids, updated_at=ctx.now())
        return [*planned.ops, check(server), change, insert(action)], planned.port_ids[0]

    port_id = ctx.transact(plan)
    return _shown(ctx, server_id, port_id)


def _wish(ctx: Context, new: NewInterface) -> PortWish | None:
    """Return what is asked for; None: any network."""
    if new.tag is not UNSET and ctx.microversion < (2, 49):
        raise unexpected("tag")
    for name in ("net_id", "port_id"):
        value = getattr(new, name)
        if isinstance(value, str) and not is_uuid(value):
            raise field_error(name, value, f"'{value}' is not a 'uuid'")
    network_id = new.net_id if isinstance(new.net_id, str) else ""
    port_id = new.port_id if isinstance(new.port_id, str) else ""
    if network_id and port_id:
        raise BadRequest("Must not input both network_id and port_id")
    fixed_ip = ""
    if isinstance(new.fixed_ips, list):
        if not network_id:
            raise BadRequest("Must input network_id when request IP address")
        try:
            fixed_ip = str(ipaddress.ip_address(new.fixed_ips[0].ip_address))
        except ValueError:
            raise field_error("ip_address", new.fixed_ips[0].ip_address, "no IP address") from None
    if not (network_id or port_id):
        return None
    tag = new.tag if isinstance(new.tag, str) else ""
    return PortWish(network_id=network_id, port_id=port_id, fixed_ip=fixed_ip, tag=tag)


def _plan(ctx: Context, server: Server, wish: PortWish | None) -> PortPlan:
    request = PortRequest(
        server_id=server.id,
        node_id=server.node_id,
        project_id=server.project_id,
        wishes=None if wish is None else (wish,),
        availability_zone=server.requested_zone or "nova",
        hostname=server.hostname,
        first_slot=len(server.port_ids),
    )
    planned: PortPlan | None = ctx.hook.port_plan(ctx=ctx, request=request)
    if planned is None or not planned.port_ids:
        raise BadRequest("No network is available to attach an interface to")
    return planned


def _shown(ctx: Context, server_id: str, port_id: str) -> dict[str, Any]:
    server = find(ctx, server_id)
    for port in ports_of(ctx, [server]).get(server_id, []):
        if port.id == port_id:
            return {"interfaceAttachment": interface_view(ctx, port)}
    raise Conflict(f"The interface of instance {server_id} was removed again at once")


def detach(ctx: Context, server_id: str, port_id: str) -> None:
    """Take an interface from a server; its port goes too if it was made for the server."""

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, f"{_NIC}:delete")
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, RULES["detach_interface"])
        if all(port.id != port_id for port in ports_of(ctx, [server]).get(server.id, [])):
            raise NotFound(f"Instance {server_id} does not have a port with id {port_id}")
        ops = bind_ops(ctx.hook, ctx.db, server, None, ctx.now(), [port_id])
        kept = [other for other in server.port_ids if other != port_id]
        action = new_action(ctx, server, "detach_interface", done=True)
        change = patch(Server, server.id, port_ids=kept, updated_at=ctx.now())
        return [*ops, check(server), change, insert(action)], None

    ctx.transact(plan, frees=True)


_PATH = "/v2.1/servers/{server_id}/os-interface"
ROUTES = (
    Route(method="POST", path=_PATH, handler=attach, policy=f"{_NIC}:create", body=AttachBody),
    Route(
        method="DELETE",
        path=f"{_PATH}/{{port_id}}",
        handler=detach,
        policy=f"{_NIC}:delete",
        status=202,
    ),
)
