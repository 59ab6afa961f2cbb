"""Two small reports between services: usage audits, and events about servers from other services.

Source: https://docs.openstack.org/api-ref/compute/#server-usage-audit-log-os-instance-usage-audit-log and
https://docs.openstack.org/api-ref/compute/#create-external-events-os-server-external-events
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute.checks import is_uuid
from node.plugins.compute.faults import field_error
from node.plugins.compute.host_view import hosts
from node.plugins.compute.tables import Server
from node.sdk import BadRequest, Context, Frozen, NotFound, Reply, Route

_AUDIT = "os_compute_api:os-instance-usage-audit-log"


_SINCE = {
    "volume-extended": (2, 51),
    "power-update": (2, 76),
    "accelerator-request-bound": (2, 82),
}


class Event(Frozen, forbid_unknown_fields=True):
    """One event about a server."""

    name: Literal[
        "network-changed",
        "network-vif-plugged",
        "network-vif-unplugged",
        "network-vif-deleted",
        "volume-extended",
        "power-update",
        "accelerator-request-bound",
    ]
    server_uuid: str
    status: Literal["failed", "completed", "in-progress"] = "completed"
    tag: Annotated[str, msgspec.Meta(max_length=255)] | UnsetType = UNSET


class EventsBody(Frozen, forbid_unknown_fields=True):
    """Body of POST os-server-external-events."""

    events: Annotated[list[Event], msgspec.Meta(min_length=1)]


def audit_now(ctx: Context) -> dict[str, Any]:
    """Report on the last whole month."""
    return {"instance_usage_audit_logs": _audit(ctx, datetime.fromtimestamp(ctx.now() / 1e6, UTC))}


def audit_before(ctx: Context, before: str) -> dict[str, Any]:
    """Report on the last whole month before a time."""
    try:
        moment = datetime.strptime(before[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise BadRequest(f"Invalid timestamp for date {before}") from None
    return {"instance_usage_audit_log": _audit(ctx, moment)}


def _audit(ctx: Context, moment: datetime) -> dict[str, Any]:
    """Return the report: audits are not run in this cloud (usage is computed from rows when it is asked for)."""
    end = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    begin = (
        end.replace(year=end.year - 1, month=12)
        if end.month == 1
        else end.replace(month=end.month - 1)
    )
    names = [host.node.name for host in hosts(ctx)]
    return {
        "period_beginning": begin.strftime("%Y-%m-%d %H:%M:%S"),
        "period_ending": end.strftime("%Y-%m-%d %H:%M:%S"),
        "num_hosts": len(names),
        "num_hosts_done": 0,
        "num_hosts_running": 0,
        "num_hosts_not_run": len(names),
        "hosts_not_run": names,
        "total_instances": 0,
        "total_errors": 0,
        "overall_status": f"0 of {len(names)} hosts done. 0 errors.",
        "log": {},
    }


def external_events(ctx: Context) -> Reply:
    """Take events of other services; views read ports afresh, so they need no further work."""
    found: list[dict[str, Any]] = []
    for event in ctx.body.events:
        if ctx.microversion < _SINCE.get(event.name, (2, 1)):
            raise field_error("name", event.name, f"'{event.name}' is not one of [...]")
        if not is_uuid(event.server_uuid):
            raise field_error(
                "server_uuid", event.server_uuid, f"'{event.server_uuid}' is not a 'uuid'"
            )
        server = ctx.db.get(Server, event.server_uuid)
        code = 404 if server is None else 200 if server.node_id else 422
        entry: dict[str, Any] = {
            "name": event.name,
            "server_uuid": event.server_uuid,
            "status": "completed" if code == 200 else "failed",
            "code": code,
        }
        found.append(entry | ({"tag": event.tag} if event.tag is not UNSET else {}))
    codes = {entry["code"] for entry in found}
    if 200 not in codes:
        raise NotFound("No instances found for any event")
    return Reply(status=200 if codes == {200} else 207, body={"events": found})


_PATH = "/v2.1/os-instance_usage_audit_log"
ROUTES = (
    Route(method="GET", path=_PATH, handler=audit_now, policy=f"{_AUDIT}:list"),
    Route(method="GET", path=_PATH + "/{before}", handler=audit_before, policy=f"{_AUDIT}:show"),
    Route(
        method="POST",
        path="/v2.1/os-server-external-events",
        handler=external_events,
        policy="os_compute_api:os-server-external-events:create",
        body=EventsBody,
    ),
)
