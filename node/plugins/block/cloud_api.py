"""What clients ask before they begin: extensions, resource filters, messages, clusters.

Source: https://docs.openstack.org/api-ref/block-storage/v3/#list-known-api-extensions
"""

from collections.abc import Callable, Mapping
from typing import Any

from node.plugins.block import listing
from node.plugins.block.listing import stamp
from node.plugins.block.lookup import links
from node.plugins.block.tables import Message
from node.sdk import Context, NotFound, Reply, Route, delete

_EXTENSIONS: Mapping[str, str] = {
    "os-availability-zone": "AvailabilityZones",
    "backups": "Backups",
    "capabilities": "Capabilities",
    "cgsnapshots": "Cgsnapshots",
    "consistencygroups": "Consistencygroups",
    "os-extended-services": "ExtendedServices",
    "os-extended-snapshot-attributes": "ExtendedSnapshotAttributes",
    "os-hosts": "Hosts",
    "qos-specs": "Qos_specs_manage",
    "os-quota-class-sets": "QuotaClasses",
    "os-quota-sets": "Quotas",
    "OS-SCH-HNT": "SchedulerHints",
    "scheduler-stats": "Scheduler_stats",
    "os-services": "Services",
    "os-snapshot-actions": "SnapshotActions",
    "os-snapshot-manage": "SnapshotManage",
    "os-snapshot-unmanage": "SnapshotUnmanage",
    "os-types-extra-specs": "TypesExtraSpecs",
    "os-types-manage": "TypesManage",
    "os-used-limits": "UsedLimits",
    "os-volume-actions": "VolumeActions",
    "os-admin-actions": "AdminActions",
    "encryption": "VolumeTypeEncryption",
    "os-volume-encryption-metadata": "VolumeEncryptionMetadata",
    "os-vol-host-attr": "VolumeHostAttribute",
    "os-vol-image-meta": "VolumeImageMetadata",
    "os-volume-manage": "VolumeManage",
    "os-vol-mig-status-attr": "VolumeMigStatusAttribute",
    "os-vol-tenant-attr": "VolumeTenantAttribute",
    "os-volume-transfer": "VolumeTransfer",
    "os-volume-type-access": "VolumeTypeAccess",
    "os-volume-unmanage": "VolumeUnmanage",
}
_ABSENT = frozenset({"cgsnapshots", "consistencygroups"})
_FILTERS: Mapping[str, tuple[str, ...]] = {
    "volume": (
        "name", "status", "metadata", "bootable", "migration_status", "availability_zone",
        "group_id", "size", "created_at", "updated_at", "consumes_quota", "glance_metadata",
    ),
    "backup": ("name", "status", "volume_id"),
    "snapshot": ("name", "status", "volume_id", "metadata", "availability_zone", "consumes_quota"),
    "group_snapshot": ("status", "group_id"),
    "attachment": ("volume_id", "status", "instance_id", "attach_status"),
    "message": ("resource_uuid", "resource_type", "event_id", "request_id", "message_level"),
    "pool": ("name", "volume_type"),
    "volume_type": ("is_public", "extra_specs"),
}  # fmt: skip
_SORT: Mapping[str, Callable[[Message], Any]] = {
    "id": lambda row: row.id,
    "created_at": lambda row: row.created_at,
    "guaranteed_until": lambda row: row.expires_at,
    "event_id": lambda row: row.action_id + row.detail_id,
    "resource_type": lambda row: row.resource_type,
    "request_id": lambda row: row.request_id,
    "message_level": lambda row: row.level,
}


def extensions(_ctx: Context) -> dict[str, Any]:
    """List the extensions of the API."""
    return {"extensions": [_extension(alias) for alias in _EXTENSIONS if alias not in _ABSENT]}


def extension(_ctx: Context, alias: str) -> dict[str, Any]:
    """Show an extension."""
    if alias not in _EXTENSIONS or alias in _ABSENT:
        raise NotFound(f"Extension with alias {alias} does not exist")
    return {"extension": _extension(alias)}


def _extension(alias: str) -> dict[str, Any]:
    name = _EXTENSIONS[alias]
    return {
        "alias": alias,
        "name": name,
        "description": f"{name} support.",
        "updated": "2013-04-18T00:00:00+00:00",
        "links": [],
    }


def resource_filters(ctx: Context) -> dict[str, Any]:
    """List the filters of lists (3.33)."""
    wanted = ctx.param("resource")
    shown = [
        {"resource": name, "filters": list(filters)}
        for name, filters in _FILTERS.items()
        if wanted in (None, name)
    ]
    return {"resource_filters": shown}


def event_id(row: Message) -> str:
    """Return a message's event in Cinder's form."""
    return f"VOLUME_{row.resource_type}_{row.action_id}_{row.detail_id}"


def _view(ctx: Context, row: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": row.id,
        "event_id": event_id(row),
        "user_message": row.text,
        "request_id": row.request_id,
        "resource_uuid": row.resource_uuid,
        "resource_type": row.resource_type,
        "created_at": stamp(row.created_at),
        "guaranteed_until": stamp(row.expires_at),
        "message_level": row.level,
        "links": links(ctx, "messages", row.id),
    }
    return shown


def messages(ctx: Context) -> dict[str, Any]:
    """List messages (3.3)."""
    rows = ctx.db.rows(Message, project_id=ctx.project_id)
    rows = [row for row in rows if row.expires_at > ctx.now()]
    for name, value in (
        ("resource_uuid", lambda row: row.resource_uuid),
        ("resource_type", lambda row: row.resource_type),
        ("request_id", lambda row: row.request_id),
        ("message_level", lambda row: row.level),
        ("event_id", event_id),
    ):
        wanted = ctx.param(name)
        if wanted is not None and ctx.microversion >= (3, 5):
            rows = [row for row in rows if value(row) == wanted]
    found, more = listing.page(ctx, rows, key=lambda row: row.id, collection="messages", sort=_SORT)
    return {"messages": [_view(ctx, row) for row in found], **more}


def _message(ctx: Context, message_id: str, rule: str) -> Message:
    row = ctx.db.get(Message, message_id)
    own = row is not None and (ctx.token.is_admin or row.project_id == ctx.project_id)
    if row is None or not own or row.expires_at <= ctx.now():
        raise NotFound(f"Message {message_id} could not be found.")
    ctx.require(rule, row)
    return row


def show_message(ctx: Context, message_id: str) -> dict[str, Any]:
    """Show a message (3.3)."""
    return {"message": _view(ctx, _message(ctx, message_id, "message:get"))}


def delete_message(ctx: Context, message_id: str) -> Reply:
    """Delete a message (3.3)."""
    row = _message(ctx, message_id, "message:delete")
    ctx.transact(lambda: ([delete(Message, row.id)], None))
    return Reply(status=204)


def clusters(_ctx: Context) -> dict[str, Any]:
    """List clusters of volume services (3.7): each node's service stands for itself."""
    return {"clusters": []}


def cluster(_ctx: Context, cluster_name: str) -> dict[str, Any]:
    """Say that there is no such cluster (3.7)."""
    raise NotFound(f"Cluster {cluster_name} could not be found.")


def workers(_ctx: Context) -> dict[str, Any]:
    """Clean up after workers (3.24): nodes take up what was cut off themselves."""
    return {"cleaning": [], "unavailable": []}


_ANY = "any"
ROUTES = (
    Route(method="GET", path="/v3/extensions", handler=extensions, policy=_ANY),
    Route(method="GET", path="/v3/extensions/{alias}", handler=extension, policy=_ANY),
    Route(
        method="GET",
        path="/v3/resource_filters",
        handler=resource_filters,
        policy=_ANY,
        since="3.33",
    ),
    Route(
        method="GET", path="/v3/messages", handler=messages, policy="message:get_all", since="3.3"
    ),
    Route(
        method="GET",
        path="/v3/messages/{message_id}",
        handler=show_message,
        policy=_ANY,
        since="3.3",
    ),
    Route(
        method="DELETE",
        path="/v3/messages/{message_id}",
        handler=delete_message,
        policy=_ANY,
        status=204,
        since="3.3",
    ),
    Route(
        method="GET", path="/v3/clusters", handler=clusters, policy="clusters:get_all", since="3.7"
    ),
    Route(
        method="GET",
        path="/v3/clusters/detail",
        handler=clusters,
        policy="clusters:get_all",
        since="3.7",
    ),
    Route(
        method="GET",
        path="/v3/clusters/{cluster_name}",
        handler=cluster,
        policy="clusters:get",
        since="3.7",
    ),
    Route(
        method="POST",
        path="/v3/workers/cleanup",
        handler=workers,
        policy="workers:cleanup",
        status=202,
        since="3.24",
    ),
)
