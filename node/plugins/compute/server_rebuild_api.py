"""Rebuild: a server gets a new root disk from an image and keeps id, addresses and node.

Source: https://docs.openstack.org/api-ref/compute/#rebuild-server-rebuild-action
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute import quota_rules, server_rules, server_view
from node.plugins.compute import server_create_rules as rules
from node.plugins.compute.checks import Metadata, Name, Text255, is_uuid, printable, printable_name
from node.plugins.compute.faults import field_error
from node.plugins.compute.server_action_api import new_action
from node.plugins.compute.server_api import shown
from node.plugins.compute.server_body import DiskConfig, File, UserData, check_version
from node.plugins.compute.server_lookup import find, surroundings
from node.plugins.compute.server_ops import job_ops
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.server_volume_ops import root_of, volumes_of_server
from node.plugins.compute.tables import Flavor, Keypair, Server, ServerExtra
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Frozen,
    Reply,
    Route,
    images_of,
    put,
    volumes_of,
)

_POLICY = "os_compute_api:servers:rebuild"


class Rebuild(Frozen, forbid_unknown_fields=True):
    """Value of `rebuild`."""

    imageRef: str  # noqa: N815 - the API's name
    name: Name | UnsetType = UNSET
    adminPass: str | UnsetType = UNSET  # noqa: N815
    accessIPv4: str | UnsetType = UNSET  # noqa: N815
    accessIPv6: str | UnsetType = UNSET  # noqa: N815
    metadata: Metadata | UnsetType = UNSET
    personality: list[File] | UnsetType = UNSET
    disk_config: DiskConfig | UnsetType = msgspec.field(default=UNSET, name="OS-DCF:diskConfig")
    preserve_ephemeral: bool | str | UnsetType = UNSET
    description: Text255 | UnsetType | None = UNSET
    key_name: Name | UnsetType | None = UNSET
    user_data: UserData | UnsetType | None = UNSET
    trusted_image_certificates: list[str] | UnsetType | None = UNSET
    hostname: str | UnsetType = UNSET


def rebuild(ctx: Context, server_id: str) -> Reply:
    """Give a server a new root disk."""
    body: Rebuild = ctx.body
    version = ctx.microversion
    check_version(body, version)
    for field, since in (("key_name", (2, 54)), ("user_data", (2, 57))):
        if version < since and getattr(body, field) is not UNSET:
            raise BadRequest(f"Additional properties are not allowed ('{field}' was unexpected)")
    if isinstance(body.trusted_image_certificates, list):
        raise BadRequest(
            "trusted_image_certificates: image signatures are not checked by this cloud"
        )
    password = body.adminPass if isinstance(body.adminPass, str) else rules.new_password()
    fields = _fields(ctx, body)

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, _POLICY)
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, RULES["rebuild"])
        if not server.node_id:
            raise Conflict(f"Cannot 'rebuild' instance {server.id}: it was never placed on a host")
        image_id = _image(ctx, body.imageRef, server)
        want = "stopped" if server_rules.vm_state(server) == "stopped" else "active"
        action = new_action(ctx, server, "rebuild", job=server.job + 1)
        more = {**fields, "image_id": image_id, "want": want}
        ops = job_ops(server, RULES["rebuild"], action, ctx.now(), **more)
        return [*ops, put(_extra(ctx, body, server, password))], None

    ctx.transact(plan)
    answer = _view(ctx, find(ctx, server_id)) | {"adminPass": password}
    headers = {"Location": ctx.url(f"/v2.1/servers/{server_id}")}
    return Reply(status=202, body={"server": answer}, headers=headers)


def _fields(ctx: Context, body: Rebuild) -> dict[str, Any]:
    """Return the columns that the request changes besides the image."""
    fields: dict[str, Any] = {}
    if isinstance(body.name, str):
        fields["name"] = printable_name(body.name)
    if isinstance(body.accessIPv4, str):
        fields["access_ipv4"] = rules.address(body.accessIPv4, "accessIPv4", 4)
    if isinstance(body.accessIPv6, str):
        fields["access_ipv6"] = rules.address(body.accessIPv6, "accessIPv6", 6)
    if isinstance(body.metadata, dict):
        rules.check_metadata_quota(body.metadata, quota_rules.limits_of(ctx.db, ctx.project_id))
        fields["metadata"] = body.metadata
    if isinstance(body.disk_config, str):
        fields["disk_config"] = body.disk_config
    if body.description is not UNSET:
        fields["description"] = printable(body.description or None, "description")
    if body.key_name is not UNSET:
        fields["key_name"] = body.key_name or ""
    if isinstance(body.hostname, str):
        fields["hostname"] = rules.check_hostname(body.hostname, ctx.microversion)
    return fields


def _image(ctx: Context, image_ref: str, server: Server) -> str:
    image_id = image_ref.rpartition("/")[2]
    boot = root_of(volumes_of_server(ctx.db, server.id))
    if boot is not None:
        volume = volumes_of(ctx.hook).facts(ctx.db, boot.volume_id)
        if volume is None or volume.image.get("image_id") != image_id:
            raise BadRequest(
                "Unable to rebuild with a different image for a volume-backed server."
            )
        return ""
    if not is_uuid(image_id):
        raise field_error("imageRef", image_ref, f"'{image_ref}' is not a 'uuid'")
    flavor = server.flavor
    assert flavor is not None
    facts = images_of(ctx.hook).facts(ctx.db, image_id)
    size = Flavor(
        id=flavor.id, name=flavor.name, memory_mib=flavor.memory_mib, disk_gib=flavor.disk_gib
    )
    rules.check_image(image_id, facts, size, project_id=ctx.project_id, is_admin=ctx.token.is_admin)
    return image_id


def _extra(ctx: Context, body: Rebuild, server: Server, password: str) -> ServerExtra:
    """Return the bulky part of the server as the request changes it."""
    extra = ctx.db.get(ServerExtra, server.id) or ServerExtra(id=server.id, created_at=ctx.now())
    changes: dict[str, Any] = {}
    if body.key_name is None:
        changes |= {"public_key": "", "key_type": "ssh"}
    elif isinstance(body.key_name, str):
        pair = ctx.db.get(Keypair, f"{ctx.token.user_id}/{body.key_name}")
        if pair is None:
            raise BadRequest("Invalid key_name provided.")
        changes |= {"public_key": pair.public_key, "key_type": pair.type}
    if body.user_data is not UNSET:
        changes["user_data"] = rules.user_data(body.user_data) if body.user_data else ""
    if isinstance(body.personality, list):
        changes["files"] = rules.files(
            body.personality, quota_rules.limits_of(ctx.db, ctx.project_id)
        )
    if server.config_drive:
        changes["admin_password"] = password
    return msgspec.structs.replace(extra, updated_at=ctx.now(), **changes)


def _view(ctx: Context, server: Server) -> dict[str, Any]:
    extra = ctx.db.get(ServerExtra, server.id)
    user_data = (extra.user_data or None) if extra else None
    if ctx.microversion >= (2, 75):
        body = shown(ctx, server)
        body.pop("OS-EXT-SRV-ATTR:user_data", None)
        return body | {"user_data": user_data}
    body = server_view.common(
        ctx, server, surroundings(ctx, [server], extras=False), server_view.rights(ctx)
    )
    if ctx.microversion >= (2, 54):
        body["key_name"] = server.key_name or None
    if ctx.microversion >= (2, 57):
        body["user_data"] = user_data
    if ctx.microversion >= (2, 71):
        body["server_groups"] = [server.group_id] if server.group_id else []
    return body


ROUTES = (
    Route(
        method="POST",
        path="/v2.1/servers/{server_id}/action",
        action="rebuild",
        handler=rebuild,
        policy=_POLICY,
        body=Rebuild,
        status=202,
    ),
)
