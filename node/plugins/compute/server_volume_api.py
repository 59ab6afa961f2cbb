"""Volumes that come and go while a server exists.

The rows change at once; the server's node plugs the guest. A volume is reserved in the same transaction.

Source: https://docs.openstack.org/api-ref/compute/#servers-with-volume-attachments-servers-os-volume-attachments
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import listing, server_rules
from node.plugins.compute.checks import boolean, is_uuid
from node.plugins.compute.faults import field_error, unexpected
from node.plugins.compute.server_action_api import new_action
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.server_volume_ops import next_device, volumes_of_server
from node.plugins.compute.tables import Server, ServerVolume
from node.sdk import (
    AnyOp,
    AttachWish,
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    Frozen,
    NotFound,
    Reply,
    Route,
    check,
    delete,
    insert,
    patch,
    volumes_of,
)

_POLICY = "os_compute_api:os-volumes-attachments"
_DEVICE = r"(^/dev/x{0,1}[a-z]{0,1}d{0,1})([a-z]+)[0-9]*$"


class NewAttachment(Frozen, forbid_unknown_fields=True):
    """`volumeAttachment` of an attach request."""

    volumeId: str  # noqa: N815 - the API's name
    device: Annotated[str, msgspec.Meta(max_length=255, pattern=_DEVICE)] | None = None
    tag: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=60, pattern="^[^,/]*$")] | UnsetType
    ) = UNSET
    delete_on_termination: bool | str | UnsetType = UNSET


class AttachBody(Frozen, forbid_unknown_fields=True):
    """Body of POST os-volume_attachments."""

    volumeAttachment: NewAttachment  # noqa: N815


class Change(Frozen):
    """`volumeAttachment` of an update request."""

    volumeId: str  # noqa: N815
    delete_on_termination: bool | str | UnsetType = UNSET
    device: str | None = None
    serverId: str | None = None  # noqa: N815
    tag: str | None = None
    id: str | None = None


class UpdateBody(Frozen, forbid_unknown_fields=True):
    """Body of PUT os-volume_attachments/{volume_id}."""

    volumeAttachment: Change  # noqa: N815


def view(ctx: Context, row: ServerVolume) -> dict[str, Any]:
    """Return an attachment as JSON."""
    shown: dict[str, Any] = {
        "serverId": row.server_id,
        "volumeId": row.volume_id,
        "device": row.device,
    }
    if ctx.microversion < (2, 89):
        shown["id"] = row.volume_id
    else:
        shown["attachment_id"] = row.id
        shown["bdm_uuid"] = row.id
    if ctx.microversion >= (2, 70):
        shown["tag"] = row.tag or None
    if ctx.microversion >= (2, 79):
        shown["delete_on_termination"] = row.delete_on_termination
    return shown


def _rows(ctx: Context, server_id: str) -> list[ServerVolume]:
    return volumes_of_server(ctx.db, server_id)


def _one(ctx: Context, server: Server, volume_id: str) -> ServerVolume:
    for row in _rows(ctx, server.id):
        if row.volume_id == volume_id:
            return row
    raise NotFound(f"Instance {server.id} is not attached to volume {volume_id}")


def index(ctx: Context, server_id: str) -> dict[str, Any]:
    """List the volumes of a server."""
    server = find(ctx, server_id, f"{_POLICY}:index")
    rows = _rows(ctx, server.id)
    start = listing.limit(ctx)
    text = ctx.param("offset") or "0"
    offset = int(text[:9]) if text.isascii() and text.isdigit() else 0
    return {"volumeAttachments": [view(ctx, row) for row in rows[offset : offset + start]]}


def show(ctx: Context, server_id: str, volume_id: str) -> dict[str, Any]:
    """Show one volume of a server."""
    server = find(ctx, server_id, f"{_POLICY}:show")
    return {"volumeAttachment": view(ctx, _one(ctx, server, volume_id))}


def attach(ctx: Context, server_id: str) -> dict[str, Any]:
    """Give a server one more volume."""
    new: NewAttachment = ctx.body.volumeAttachment
    if new.tag is not UNSET and ctx.microversion < (2, 49):
        raise unexpected("tag")
    if new.delete_on_termination is not UNSET and ctx.microversion < (2, 79):
        raise unexpected("delete_on_termination")
    if not is_uuid(new.volumeId):
        raise field_error("volumeId", new.volumeId, f"'{new.volumeId}' is not a 'uuid'")
    goes = new.delete_on_termination is not UNSET and boolean(
        new.delete_on_termination, "delete_on_termination"
    )
    attachment_id = ctx.ids.uuid()

    def plan() -> tuple[list[AnyOp], ServerVolume]:
        server = find(ctx, server_id, f"{_POLICY}:create")
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        rule = "attach_volume_to_shelved" if ctx.microversion >= (2, 20) else "attach_volume"
        server_rules.check_state(server, RULES[rule])
        held = _rows(ctx, server.id)
        _check(ctx, server, new, held)
        row = ServerVolume(
            id=attachment_id,
            created_at=ctx.now(),
            updated_at=ctx.now(),
            server_id=server.id,
            volume_id=new.volumeId,
            device=_device(server, new.device, held),
            tag=new.tag if isinstance(new.tag, str) else "",
            delete_on_termination=goes,
        )
        wish = AttachWish(
            attachment_id=row.id,
            server_id=server.id,
            node_id=server.node_id,
            device=row.device,
        )
        ops = volumes_of(ctx.hook).plan_attach(ctx, new.volumeId, wish)
        action = new_action(ctx, server, "attach_volume", done=True)
        return [check(server), *ops, insert(row), insert(action)], row

    row = ctx.transact(plan)
    shown = view(ctx, row)
    shown.pop("attachment_id", None)
    shown.pop("bdm_uuid", None)
    return {"volumeAttachment": {"id": row.volume_id, **shown}}


def _check(ctx: Context, server: Server, new: NewAttachment, held: list[ServerVolume]) -> None:
    facts = volumes_of(ctx.hook).facts(ctx.db, new.volumeId)
    own = facts is not None and (ctx.token.is_admin or facts.project_id == ctx.project_id)
    if facts is None or not own:
        raise NotFound(f"Volume {new.volumeId} could not be found.")
    if any(row.volume_id == new.volumeId for row in held):
        raise BadRequest(
            f"Invalid volume: volume {new.volumeId} is already attached to instance {server.id}"
        )
    if facts.multiattach and ctx.microversion < (2, 60):
        raise BadRequest(
            f"Volume with id {new.volumeId} is multiattach: that needs microversion 2.60."
        )
    if facts.node_id and server.node_id and facts.node_id != server.node_id:
        raise BadRequest(
            f"Invalid volume: volume {new.volumeId} is a file of another node than instance"
            f" {server.id} runs on"
        )


def _device(server: Server, asked: str | None, held: list[ServerVolume]) -> str:
    free = next_device(server, held)
    if not free:
        raise Forbidden("The maximum allowed number of disk devices is reached.")
    if not asked:
        return free
    name = f"/dev/vd{asked.removeprefix('/dev/').lstrip('xsvh').removeprefix('d')[:1] or 'b'}"
    if any(row.device == name for row in held) or name == server.root_device:
        raise Conflict(f"The supplied device path ({asked}) is in use.")
    return free  # as with libvirt in Nova, the guest names its devices


def detach(ctx: Context, server_id: str, volume_id: str) -> None:
    """Take a volume from a server."""

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, f"{_POLICY}:delete")
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        rule = "detach_volume_from_shelved" if ctx.microversion >= (2, 20) else "detach_volume"
        server_rules.check_state(server, RULES[rule])
        row = _one(ctx, server, volume_id)
        offloaded = server.have == "shelved_offloaded"
        if row.boot_index == 0 and not offloaded:
            raise Forbidden("Cannot detach a root device volume")
        volumes, now = volumes_of(ctx.hook), ctx.now()
        action = new_action(ctx, server, "detach_volume", done=True)
        if not server.node_id:  # nobody uses it
            ops = volumes.detached_ops(ctx.db, row.id, now)
            return [check(server), delete(ServerVolume, row.id), *ops, insert(action)], None
        if row.want == "absent":
            raise BadRequest(f"Invalid volume: volume {volume_id} is being detached already")
        ops = volumes.plan_detach(ctx.db, row.id, now)
        change = patch(ServerVolume, row.id, want="absent", updated_at=now)
        return [check(server), check(row), change, *ops, insert(action)], None

    ctx.transact(plan)


def update(ctx: Context, server_id: str, volume_id: str) -> Reply:
    """Change whether a volume goes with its server (2.85), or swap it for another one."""
    body: Change = ctx.body.volumeAttachment
    if ctx.microversion < (2, 85) and body.delete_on_termination is not UNSET:
        raise unexpected("delete_on_termination")
    if not is_uuid(body.volumeId):
        raise field_error("volumeId", body.volumeId, f"'{body.volumeId}' is not a 'uuid'")
    if body.volumeId != volume_id:
        return _swap(ctx, server_id, volume_id, body.volumeId)
    if body.delete_on_termination is UNSET:
        if ctx.microversion >= (2, 85):
            raise BadRequest("delete_on_termination is a required property when the volume stays")
        return _swap(ctx, server_id, volume_id, body.volumeId)
    goes = boolean(body.delete_on_termination, "delete_on_termination")

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, f"{_POLICY}:update")
        row = _one(ctx, server, volume_id)
        return [check(row), patch(ServerVolume, row.id, delete_on_termination=goes)], None

    ctx.transact(plan)
    return Reply(status=202)


def _swap(ctx: Context, server_id: str, old_id: str, new_id: str) -> Reply:
    """Refuse to swap, after the checks of Nova: what a volume holds can be copied with a retype or a clone.

    Raises:
        BadRequest: 400.
    """
    ctx.require(f"{_POLICY}:swap", {"project_id": ctx.project_id})
    server = find(ctx, server_id)
    server_rules.check_lock(server, is_admin=ctx.token.is_admin)
    volumes = volumes_of(ctx.hook)
    if volumes.facts(ctx.db, old_id) is None:
        raise NotFound(f"Volume {old_id} could not be found.")
    _one(ctx, server, old_id)
    new = volumes.facts(ctx.db, new_id)
    if new is None:
        raise BadRequest(f"Volume {new_id} could not be found.")
    if new.status != "available":
        raise BadRequest(
            f"Invalid volume: volume '{new_id}' status must be 'available'. It is {new.status}"
        )
    raise BadRequest("Invalid volume: this cloud does not swap volumes of servers")


_PATH = "/v2.1/servers/{server_id}/os-volume_attachments"
ROUTES = (
    Route(method="GET", path=_PATH, handler=index, policy=f"{_POLICY}:index"),
    Route(method="POST", path=_PATH, handler=attach, policy=f"{_POLICY}:create", body=AttachBody),
    Route(method="GET", path=f"{_PATH}/{{volume_id}}", handler=show, policy=f"{_POLICY}:show"),
    Route(
        method="PUT",
        path=f"{_PATH}/{{volume_id}}",
        handler=update,
        policy="any",
        body=UpdateBody,
        status=202,
    ),
    Route(
        method="DELETE",
        path=f"{_PATH}/{{volume_id}}",
        handler=detach,
        policy=f"{_POLICY}:delete",
        status=202,
    ),
)
