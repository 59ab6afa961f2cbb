"""The volumes of a new server: checked before it is placed, reserved or made in the transaction that stores it."""

from collections.abc import Sequence

from node.plugins.compute.server_mapping import Wanted, root
from node.plugins.compute.server_volume_ops import next_device
from node.plugins.compute.tables import Flavor, Server, ServerVolume
from node.sdk import (
    AnyOp,
    AttachWish,
    BadRequest,
    Conflict,
    Context,
    Forbidden,
    NotFound,
    OverQuota,
    TooLarge,
    VolumeFacts,
    VolumeWish,
    insert,
    volumes_of,
)


def checked(ctx: Context, found: Sequence[Wanted], flavor: Flavor) -> None:
    """Refuse volumes and snapshots that a server cannot have.

    Raises:
        BadRequest: 400, in Nova's words.
    """
    for one in found:
        if one.source == "volume":
            _check_volume(ctx, one, flavor)
        elif one.source == "snapshot":
            facts = volumes_of(ctx.hook).snapshot_facts(ctx.db, one.id)
            if facts is None or not _is_own(ctx, facts.project_id):
                raise BadRequest(
                    f"Block Device Mapping is Invalid: failed to get snapshot {one.id}."
                )


def _is_own(ctx: Context, project_id: str) -> bool:
    return ctx.token.is_admin or project_id == ctx.project_id


def _check_volume(ctx: Context, one: Wanted, flavor: Flavor) -> None:
    facts = volumes_of(ctx.hook).facts(ctx.db, one.id)
    if facts is None or not _is_own(ctx, facts.project_id):
        raise BadRequest(f"Block Device Mapping is Invalid: failed to get volume {one.id}.")
    if facts.multiattach and ctx.microversion < (2, 60):
        raise BadRequest(f"Volume {one.id} is multiattach: that needs microversion 2.60.")
    if facts.status != "available" and not (facts.multiattach and facts.status == "in-use"):
        raise BadRequest(
            f"Block Device Mapping is Invalid: failed to get volume {one.id}: it is {facts.status}."
        )
    if one.boot_index == 0:
        _check_boot(facts, flavor)


def _check_boot(facts: VolumeFacts, flavor: Flavor) -> None:
    if not facts.bootable:
        raise BadRequest(f"Block Device Mapping is Invalid: Volume {facts.id} is not bootable.")
    least = facts.image.get("min_ram", "0")
    if least.isdigit() and flavor.memory_mib < int(least):
        raise BadRequest("Flavor's memory is too small for requested image.")


def image_of(ctx: Context, found: Sequence[Wanted]) -> str:
    """Return the image that the root volume was, or will be, made from; "" where none is known."""
    boot = root(found)
    if boot is None:
        return ""
    if boot.source == "image":
        return boot.id
    facts = volumes_of(ctx.hook).facts(ctx.db, boot.id) if boot.source == "volume" else None
    return facts.image.get("image_id", "") if facts else ""


def plan(ctx: Context, server: Server, found: Sequence[Wanted]) -> list[AnyOp]:
    """Return the operations that give a server that is placed its volumes.

    Raises:
        BadRequest: 400.
        Forbidden: 403, over quota.
    """
    ops: list[AnyOp] = []
    rows: list[ServerVolume] = []
    volumes = volumes_of(ctx.hook)
    for one in found:
        device = server.root_device if one.boot_index == 0 else next_device(server, rows)
        if not device:
            raise Forbidden("The maximum allowed number of disk devices is reached.")
        attachment_id = ctx.ids.uuid()
        attach = AttachWish(
            attachment_id=attachment_id,
            server_id=server.id,
            node_id=server.node_id,
            device=device,
        )
        try:
            if one.source == "volume":
                ops += volumes.plan_attach(ctx, one.id, attach)
                volume_id = one.id
            else:
                planned = volumes.plan_create(ctx, _wish(server, one), attach)
                ops += planned.ops
                volume_id = planned.id
        except (NotFound, Conflict) as error:
            raise BadRequest(f"Block Device Mapping is Invalid: {error.message}") from error
        except (TooLarge, OverQuota) as error:
            raise Forbidden(error.message) from error
        rows.append(
            ServerVolume(
                id=attachment_id,
                created_at=ctx.now(),
                updated_at=ctx.now(),
                server_id=server.id,
                volume_id=volume_id,
                device=device,
                boot_index=one.boot_index,
                tag=one.tag,
                delete_on_termination=one.delete_on_termination,
            )
        )
    return [*ops, *(insert(row) for row in rows)]


def _wish(server: Server, one: Wanted) -> VolumeWish:
    return VolumeWish(
        project_id=server.project_id,
        size_gib=one.size_gib,
        image_id=one.id if one.source == "image" else "",
        snapshot_id=one.id if one.source == "snapshot" else "",
        type=one.type,
        node_id=server.node_id,
    )
