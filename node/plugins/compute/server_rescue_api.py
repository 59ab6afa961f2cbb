"""Rescue: a server boots from a fresh disk of an image, with its own disk as the second one.

Source: https://docs.openstack.org/api-ref/compute/#rescue-server-rescue-action
"""

from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.compute import server_create_rules, server_rules
from node.plugins.compute.checks import is_uuid
from node.plugins.compute.faults import field_error
from node.plugins.compute.server_action_api import new_action, start_job
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_ops import job_ops
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.server_volume_ops import root_of, volumes_of_server
from node.plugins.compute.tables import Flavor, Server
from node.sdk import AnyOp, BadRequest, Conflict, Context, Frozen, Route, images_of

_RESCUE = "os_compute_api:os-rescue"
_UNRESCUE = "os_compute_api:os-unrescue"


class Rescue(Frozen, forbid_unknown_fields=True):
    """Value of `rescue`."""

    adminPass: str | UnsetType = UNSET  # noqa: N815 - the API's name
    rescue_image_ref: str | UnsetType = UNSET


def rescue(ctx: Context, server_id: str) -> dict[str, Any]:
    """Boot a server from an image's fresh disk."""
    body: Rescue = ctx.body or Rescue()
    reference = body.rescue_image_ref if isinstance(body.rescue_image_ref, str) else ""
    if reference and not is_uuid(reference):
        raise field_error("rescue_image_ref", reference, f"'{reference}' is not a 'uuid'")
    password = body.adminPass if isinstance(body.adminPass, str) else ""

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, _RESCUE)
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, RULES["rescue"])
        if not server.node_id:
            raise Conflict(f"Cannot 'rescue' instance {server.id}: it was never placed on a host")
        boot = root_of(volumes_of_server(ctx.db, server.id))
        if boot is not None and (ctx.microversion < (2, 87) or not reference):
            raise BadRequest("Cannot rescue a volume-backed instance")
        image_id = _image(ctx, server, reference or server.image_id)
        action = new_action(ctx, server, "rescue", job=server.job + 1)
        data = {"image_id": image_id}
        return job_ops(server, RULES["rescue"], action, ctx.now(), job_data=data), None

    ctx.transact(plan)
    return {"adminPass": password or server_create_rules.new_password()}


def _image(ctx: Context, server: Server, image_id: str) -> str:
    facts = images_of(ctx.hook).facts(ctx.db, image_id) if image_id else None
    flavor = server.flavor
    assert flavor is not None
    size = Flavor(id=flavor.id, name=flavor.name, memory_mib=flavor.memory_mib)
    server_create_rules.check_image(
        image_id, facts, size, project_id=ctx.project_id, is_admin=ctx.token.is_admin
    )
    if facts is not None and facts.disk_format not in ("raw", "qcow2"):
        raise BadRequest(f"Image {image_id} has a format that cannot be run")
    return image_id


def unrescue(ctx: Context, server_id: str) -> None:
    """Boot a server from its own disk again."""
    start_job(ctx, server_id, _UNRESCUE, "unrescue")


_PATH = "/v2.1/servers/{server_id}/action"
ROUTES = (
    Route(
        method="POST",
        path=_PATH,
        action="rescue",
        handler=rescue,
        policy=_RESCUE,
        body=Rescue | None,  # type: ignore[arg-type]
    ),
    Route(
        method="POST", path=_PATH, action="unrescue", handler=unrescue, policy=_UNRESCUE, status=202
    ),
)
