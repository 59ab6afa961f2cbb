"""Messages that tell users what went wrong with their volumes.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#messages
"""

from node.plugins.block.section import BlockSection
from node.plugins.block.tables import Message, Volume
from node.sdk import Config, Context, Ids

_DAY_US = 86400 * 1_000_000
ACTIONS = {
    "schedule": ("001", "schedule allocate volume"),
    "create": ("015", "create volume"),
    "attach": ("002", "attach volume"),
    "upload": ("003", "copy volume to image"),
    "extend": ("007", "extend volume"),
    "backup": ("013", "create backup"),
    "restore": ("014", "restore backup"),
    "delete": ("012", "delete volume"),
    "retype": ("019", "retype"),
    "snapshot": ("009", "create snapshot"),
    "revert": ("018", "revert to snapshot"),
    "migrate": ("017", "migrate volume"),
}
"""What was tried: Cinder's number and words."""
DETAILS = {
    "unknown": ("001", "An unknown error occurred."),
    "no_backend": ("003", "Could not find any available weighted backend."),
    "driver": ("008", "The driver failed."),
}
"""What went wrong: Cinder's number and words."""


def message(  # noqa: PLR0913 - the parts of a message
    ids: Ids,
    config: Config,
    now_us: int,
    *,
    project_id: str,
    resource_type: str,
    resource_id: str,
    action: str,
    detail: str,
    text: str = "",
    request_id: str = "",
) -> Message:
    """Return a message."""
    action_id, doing = ACTIONS.get(action, ("001", action))
    detail_id, what = DETAILS[detail]
    days = config.section(BlockSection).message_days
    return Message(
        id=ids.uuid(),
        created_at=now_us,
        updated_at=now_us,
        project_id=project_id,
        resource_type=resource_type,
        resource_uuid=resource_id,
        action_id=action_id,
        detail_id=detail_id,
        text=f"{doing}:{text or what}",
        request_id=request_id,
        expires_at=now_us + days * _DAY_US,
    )


def no_backend(ctx: Context, volume: Volume) -> Message:
    """Return the message that no pool takes a volume."""
    return message(
        ctx.ids,
        ctx.config,
        ctx.now(),
        project_id=volume.project_id,
        resource_type="VOLUME",
        resource_id=volume.id,
        action="schedule",
        detail="no_backend",
        request_id=ctx.request_id,
    )
