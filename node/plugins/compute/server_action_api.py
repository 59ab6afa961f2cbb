"""Actions on servers: power, locks, state, console log.

Source: https://docs.openstack.org/api-ref/compute/#servers-run-an-action-servers-action
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from node.plugins.compute import server_peer_api, server_rules
from node.plugins.compute.checks import integer
from node.plugins.compute.server_action_route import server_action
from node.plugins.compute.server_lookup import find
from node.plugins.compute.server_ops import action_id, job_ops
from node.plugins.compute.server_rules import RULES
from node.plugins.compute.tables import Server, ServerAction
from node.sdk import (
    AnyOp,
    BadRequest,
    Conflict,
    Context,
    Frozen,
    NotImplementedHere,
    check,
    insert,
    patch,
)


class Reboot(Frozen, forbid_unknown_fields=True):
    """Value of `reboot`."""

    type: Literal["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]


class ResetState(Frozen, forbid_unknown_fields=True):
    """Value of `os-resetState`."""

    state: Literal["active", "error"]


class ConsoleOutput(Frozen, forbid_unknown_fields=True):
    """Value of `os-getConsoleOutput`."""

    length: int | str | None = None


class Lock(Frozen, forbid_unknown_fields=True):
    """Value of `lock` from 2.73 on."""

    locked_reason: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None


class ChangePassword(Frozen, forbid_unknown_fields=True):
    """Value of `changePassword`."""

    adminPass: str  # noqa: N815 - the API's name


def new_action(
    ctx: Context, server: Server, action: str, *, job: int = 0, done: bool = False
) -> ServerAction:
    """Return the record of an action; `job` is the number of the job that it starts, 0 for none."""
    return ServerAction(
        id=action_id(server.id, job) if job else ctx.ids.uuid(),
        server_id=server.id,
        action=action,
        request_id=ctx.request_id,
        user_id=ctx.token.user_id,
        project_id=server.project_id,
        start_at=ctx.now(),
        finish_at=ctx.now() if done else 0,
        created_at=ctx.now(),
        updated_at=ctx.now(),
    )


def start_job(
    ctx: Context, server_id: str, policy: str, rule_name: str, more: Mapping[str, Any] | None = None
) -> None:
    """Give a server a job, where its state, its lock and the policy allow it.

    Raises:
        Conflict: 409, the state or the lock does not allow it.
    """
    rule = RULES[rule_name]

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, policy)
        server_rules.check_lock(server, is_admin=ctx.token.is_admin)
        server_rules.check_state(server, rule)
        if not server.node_id:
            raise Conflict(
                f"Cannot '{rule.name}' instance {server.id}: it was never placed on a host"
            )
        action = new_action(ctx, server, rule.action, job=server.job + 1)
        return job_ops(server, rule, action, ctx.now(), **(more or {})), None

    ctx.transact(plan)


def start(ctx: Context, server_id: str) -> None:
    """Switch a server on."""
    start_job(ctx, server_id, "os_compute_api:servers:start", "start")


def stop(ctx: Context, server_id: str) -> None:
    """Switch a server off."""
    start_job(ctx, server_id, "os_compute_api:servers:stop", "stop")


def reboot(ctx: Context, server_id: str) -> None:
    """Reboot a server: SOFT asks the guest, HARD does not."""
    kind = f"reboot_{ctx.body.type.lower()}"
    start_job(ctx, server_id, "os_compute_api:servers:reboot", kind)


def pause(ctx: Context, server_id: str) -> None:
    """Freeze a server in memory."""
    start_job(ctx, server_id, "os_compute_api:os-pause-server:pause", "pause")


def unpause(ctx: Context, server_id: str) -> None:
    """Let a paused server run on."""
    start_job(ctx, server_id, "os_compute_api:os-pause-server:unpause", "unpause")


def suspend(ctx: Context, server_id: str) -> None:
    """Save a server's memory to disk."""
    start_job(ctx, server_id, "os_compute_api:os-suspend-server:suspend", "suspend")


def resume(ctx: Context, server_id: str) -> None:
    """Let a suspended server run on."""
    start_job(ctx, server_id, "os_compute_api:os-suspend-server:resume", "resume")


def trigger_crash_dump(ctx: Context, server_id: str) -> None:
    """Interrupt a guest so that it dumps its memory, if it is set up to."""
    start_job(ctx, server_id, "os_compute_api:servers:trigger_crash_dump", "crash_dump")


def _set(ctx: Context, server_id: str, policy: str, action: str, fields: Mapping[str, Any]) -> None:
    """Set columns of a server that need no work on the node."""

    def plan() -> tuple[list[AnyOp], None]:
        server = find(ctx, server_id, policy)
        record = new_action(ctx, server, action, done=True)
        return [
            check(server),
            patch(Server, server.id, **{"updated_at": ctx.now(), **fields}),
            insert(record),
        ], None

    ctx.transact(plan)


def lock(ctx: Context, server_id: str) -> None:
    """Protect a server from changes by others than administrators."""
    reason = None
    if ctx.microversion >= (2, 73) and ctx.body is not None:
        try:
            reason = msgspec.convert(ctx.body, Lock).locked_reason
        except msgspec.ValidationError as error:
            raise BadRequest(
                f"Invalid input for field/attribute lock. Value: {ctx.body}. {error}"
            ) from error
    server = find(ctx, server_id, "os_compute_api:os-lock-server:lock")
    owner = "owner" if server.project_id == ctx.project_id and not ctx.token.is_admin else "admin"
    fields = {"locked": True, "locked_by": owner, "locked_reason": reason}
    _set(ctx, server_id, "os_compute_api:os-lock-server:lock", "lock", fields)


def unlock(ctx: Context, server_id: str) -> None:
    """Take the protection away; what an administrator locked only an administrator unlocks."""
    server = find(ctx, server_id, "os_compute_api:os-lock-server:unlock")
    if server.locked_by == "admin":
        ctx.require("os_compute_api:os-lock-server:unlock:unlock_override", server)
    fields = {"locked": False, "locked_by": "", "locked_reason": None}
    _set(ctx, server_id, "os_compute_api:os-lock-server:unlock", "unlock", fields)


def reset_state(ctx: Context, server_id: str) -> None:
    """Show a server as active or in error, whatever it is, until its next job."""
    policy = "os_compute_api:os-admin-actions:reset_state"
    _set(ctx, server_id, policy, "resetState", {"override": ctx.body.state})


def console_output(ctx: Context, server_id: str) -> dict[str, Any]:
    """Show the end of a server's console log."""
    server = find(ctx, server_id, "os_compute_api:os-console-output")
    length = ctx.body.length
    lines = None if length is None else integer(length, "length", -1)
    if not server.node_id:
        raise Conflict(f"Instance {server_id} is not ready")
    return {"output": server_peer_api.console_output(ctx, server, None if lines == -1 else lines)}


def restore(ctx: Context, server_id: str) -> None:
    """Bring a soft-deleted server back: none is ever in that state, as deletes are not deferred here."""
    server = find(ctx, server_id, "os_compute_api:os-deferred-delete:restore")
    server_rules.check_state(server, RULES["restore"])


def inject_network_info(ctx: Context, server_id: str) -> None:
    """Accept: guests read network facts fresh from the metadata service, so there is nothing to inject."""
    find(ctx, server_id, "os_compute_api:os-admin-actions:inject_network_info")


def change_password(ctx: Context, server_id: str) -> None:
    """Refuse: there is no agent in the guest to do it."""
    find(ctx, server_id, "os_compute_api:os-admin-password")
    raise NotImplementedHere("Unable to set password on instance: there is no guest agent")


ROUTES = (
    server_action("os-start", start, "os_compute_api:servers:start"),
    server_action("os-stop", stop, "os_compute_api:servers:stop"),
    server_action("reboot", reboot, "os_compute_api:servers:reboot", Reboot),
    server_action("pause", pause, "os_compute_api:os-pause-server:pause"),
    server_action("unpause", unpause, "os_compute_api:os-pause-server:unpause"),
    server_action("suspend", suspend, "os_compute_api:os-suspend-server:suspend"),
    server_action("resume", resume, "os_compute_api:os-suspend-server:resume"),
    server_action(
        "trigger_crash_dump",
        trigger_crash_dump,
        "os_compute_api:servers:trigger_crash_dump",
        since="2.17",
    ),
    server_action("lock", lock, "os_compute_api:os-lock-server:lock"),
    server_action("unlock", unlock, "os_compute_api:os-lock-server:unlock"),
    server_action("restore", restore, "os_compute_api:os-deferred-delete:restore"),
    server_action(
        "injectNetworkInfo",
        inject_network_info,
        "os_compute_api:os-admin-actions:inject_network_info",
    ),
    server_action(
        "os-resetState", reset_state, "os_compute_api:os-admin-actions:reset_state", ResetState
    ),
    server_action(
        "os-getConsoleOutput",
        console_output,
        "os_compute_api:os-console-output",
        ConsoleOutput,
        status=200,
    ),
    server_action(
        "changePassword", change_password, "os_compute_api:os-admin-password", ChangePassword
    ),
)
