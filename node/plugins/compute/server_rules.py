"""What a server's columns mean in Nova's words: vm_state, task_state, power_state, status. Pure functions.

Source: https://docs.openstack.org/nova/latest/reference/vm-states.html and the API guide's "Server concepts".
"""

from collections.abc import Mapping
from types import MappingProxyType

from node.plugins.compute.tables import Server
from node.sdk import Conflict, Frozen

TASKS: Mapping[str, str] = MappingProxyType(
    {
        "start": "powering-on",
        "stop": "powering-off",
        "reboot_soft": "rebooting",
        "reboot_hard": "rebooting_hard",
        "rebuild": "rebuilding",
        "evacuate": "rebuilding",
        "snapshot": "image_snapshot",
        "resize": "resize_migrating",
        "migrate": "resize_migrating",
        "live_migrate": "migrating",
        "confirm_resize": "resize_confirming",
        "revert_resize": "resize_reverting",
        "rescue": "rescuing",
        "unrescue": "unrescuing",
        "shelve": "shelving",
        "unshelve": "unshelving",
        "pause": "pausing",
        "unpause": "unpausing",
        "suspend": "suspending",
        "resume": "resuming",
    }
)
"""Task state while a job of that kind is outstanding."""

_VM_STATES: Mapping[str, str] = MappingProxyType({"": "building"})
_STATUS: Mapping[str, str] = MappingProxyType(
    {
        "active": "ACTIVE",
        "building": "BUILD",
        "stopped": "SHUTOFF",
        "paused": "PAUSED",
        "suspended": "SUSPENDED",
        "rescued": "RESCUE",
        "error": "ERROR",
        "deleted": "DELETED",
        "soft-delete": "SOFT_DELETED",
        "shelved": "SHELVED",
        "shelved_offloaded": "SHELVED_OFFLOADED",
        "resized": "VERIFY_RESIZE",
    }
)
_STATUS_BY_TASK: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("active", "rebooting"): "REBOOT",
        ("active", "rebooting_hard"): "HARD_REBOOT",
        ("active", "rebuilding"): "REBUILD",
        ("stopped", "rebuilding"): "REBUILD",
        ("error", "rebuilding"): "REBUILD",
        ("active", "resize_migrating"): "RESIZE",
        ("stopped", "resize_migrating"): "RESIZE",
            ("resized", "resize_reverting"): "REVERT_RESIZE",
        ("active", "migrating"): "MIGRATING",
        ("paused", "migrating"): "MIGRATING",
    }
)
_HARD_REBOOT_TASKS = frozenset(
    {None, "rebooting", "rebooting_hard", "resuming", "unpausing", "pausing", "suspending"}
)
_IDLE: frozenset[str | None] = frozenset({None})
_WITH_VOLUMES = frozenset({"active", "paused", "stopped", "resized"})
_SHELVED = frozenset({"shelved", "shelved_offloaded"})


def task_running(server: Server) -> bool:
    """Return whether the node still owes the outcome of a job."""
    return server.job_done < server.job and not server.override


def vm_state(server: Server) -> str:
    """Return Nova's vm_state."""
    if server.override:
        return server.override
    return _VM_STATES.get(server.have, server.have)


def task_state(server: Server) -> str | None:
    """Return Nova's task_state, None when nothing is going on."""
    if server.want == "absent":
        return "deleting"
    if not task_running(server) or server.job_kind == "crash_dump":
        return None
    if server.job_kind == "build":
        return server.job_step or ("scheduling" if not server.node_id else "spawning")
    return TASKS.get(server.job_kind, server.job_kind)


def power_state(server: Server) -> int:
    """Return Nova's power_state: 0 no state, 1 running, 3 paused, 4 shut down, 6 crashed, 7 suspended."""
    return server.power if server.power in (1, 3, 4, 6, 7) else 0


def status(server: Server) -> str:
    """Return the API's status."""
    state, task = vm_state(server), task_state(server)
    if task is not None and (special := _STATUS_BY_TASK.get((state, task))):
        return special
    return _STATUS.get(state, "UNKNOWN")


def states_of_status(wanted: str) -> frozenset[str] | None:
    """Return the vm_states that a status may stand for; None where it is no status."""
    upper = wanted.upper()
    plain = {state for state, name in _STATUS.items() if name == upper}
    special = {state for (state, _task), name in _STATUS_BY_TASK.items() if name == upper}
    return frozenset(plain | special) or None


class ActionRule(Frozen):
    """When an action is allowed, and the job that it starts."""

    name: str
    """As the error message says it."""
    states: frozenset[str]
    """vm_states in which it is allowed; empty: all."""
    tasks: frozenset[str | None] = _IDLE
    kind: str = ""
    """Job kind; empty: no job."""
    want: str = ""
    """The new wish; empty: as it was."""
    action: str = ""
    """Name of the instance action."""


_CHANGEABLE = frozenset({"active", "paused", "suspended", "stopped"})

RULES: Mapping[str, ActionRule] = MappingProxyType(
    {
        "start": ActionRule(
            name="start", states=frozenset({"stopped"}), kind="start", want="active", action="start"
        ),
        "stop": ActionRule(
            name="stop",
            states=frozenset({"active", "error"}),
            kind="stop",
            want="stopped",
            action="stop",
        ),
        "reboot_soft": ActionRule(
            name="reboot",
            states=frozenset({"active"}),
            kind="reboot_soft",
            want="active",
            action="reboot",
        ),
        "reboot_hard": ActionRule(
            name="reboot",
            states=_CHANGEABLE | {"error"},
            tasks=_HARD_REBOOT_TASKS,
            kind="reboot_hard",
            want="active",
            action="reboot",
        ),
        "rebuild": ActionRule(
            name="rebuild",
            states=frozenset({"active", "stopped", "error"}),
            kind="rebuild",
            action="rebuild",
        ),
        "evacuate": ActionRule(
            name="evacuate",
            states=frozenset({"active", "stopped", "error"}),
            kind="evacuate",
            action="evacuate",
        ),
        "snapshot": ActionRule(
            name="createImage", states=_CHANGEABLE, kind="snapshot", action="createImage"
        ),
        "backup": ActionRule(
            name="createBackup", states=_CHANGEABLE, kind="snapshot", action="createBackup"
        ),
        "crash_dump": ActionRule(
            name="trigger_crash_dump",
            states=frozenset({"active", "paused", "rescued", "resized"}),
            kind="crash_dump",
            action="trigger_crash_dump",
        ),
        "resize": ActionRule(
            name="resize", states=frozenset({"active", "stopped"}), kind="resize", action="resize"
        ),
        "migrate": ActionRule(
            name="migrate", states=frozenset({"active", "stopped"}), kind="migrate", action="migrate"
        ),
        "live_migrate": ActionRule(
            name="os-migrateLive",
            states=frozenset({"active", "paused"}),
            kind="live_migrate",
            action="live-migration",
        ),
        "confirm_resize": ActionRule(
            name="confirmResize",
            states=frozenset({"resized"}),
            kind="confirm_resize",
            action="confirmResize",
        ),
        "revert_resize": ActionRule(
            name="revertResize",
            states=frozenset({"resized"}),
            kind="revert_resize",
            action="revertResize",
        ),
        "rescue": ActionRule(
            name="rescue",
            states=frozenset({"active", "stopped", "error"}),
            kind="rescue",
            want="active",
            action="rescue",
        ),
        "unrescue": ActionRule(
            name="unrescue", states=frozenset({"rescued"}), kind="unrescue", action="unrescue"
        ),
        "shelve": ActionRule(name="shelve", states=_CHANGEABLE, kind="shelve", action="shelve"),
        "shelve_offload": ActionRule(name="shelve_offload", states=frozenset({"shelved"})),
        "unshelve": ActionRule(
            name="unshelve",
            states=frozenset({"shelved", "shelved_offloaded"}),
            kind="unshelve",
            action="unshelve",
        ),
        "pause": ActionRule(
            name="pause", states=frozenset({"active"}), kind="pause", action="pause"
        ),
        "unpause": ActionRule(
            name="unpause", states=frozenset({"paused"}), kind="unpause", action="unpause"
        ),
        "suspend": ActionRule(
            name="suspend", states=frozenset({"active"}), kind="suspend", action="suspend"
        ),
        "resume": ActionRule(
            name="resume", states=frozenset({"suspended"}), kind="resume", action="resume"
        ),
        "restore": ActionRule(name="restore", states=frozenset({"soft-delete"})),
        "update_metadata": ActionRule(name="update_instance_metadata", states=_CHANGEABLE),
        "delete_metadata": ActionRule(name="delete_instance_metadata", states=_CHANGEABLE),
        "update_tags": ActionRule(
            name="tag", states=_CHANGEABLE | {"error", "rescued"}, tasks=frozenset()
        ),
        "attach_interface": ActionRule(
            name="attach_interface", states=frozenset({"active", "paused", "stopped"})
        ),
        "detach_interface": ActionRule(
            name="detach_interface", states=frozenset({"active", "paused", "stopped"})
        ),
        "attach_volume": ActionRule(name="attach_volume", states=_WITH_VOLUMES | {"stopped"}),
        "attach_volume_to_shelved": ActionRule(
            name="attach_volume", states=_WITH_VOLUMES | _SHELVED
        ),
        "detach_volume": ActionRule(name="detach_volume", states=_WITH_VOLUMES | {"suspended"}),
        "detach_volume_from_shelved": ActionRule(
            name="detach_volume", states=_WITH_VOLUMES | _SHELVED | {"suspended"}
        ),
        "add_security_group": ActionRule(
            name="add_security_group", states=frozenset(), tasks=frozenset()
        ),
    }
)


def check_lock(server: Server, *, is_admin: bool) -> None:
    """Refuse a change of a locked server.

    Raises:
        Conflict: 409.
    """
    if server.locked and not is_admin:
        raise Conflict(f"Instance {server.id} is locked")


def check_state(server: Server, rule: ActionRule) -> None:
    """Refuse an action that the server's state does not allow.

    Raises:
        Conflict: 409, in Nova's words.
    """
    state, task = vm_state(server), task_state(server)
    if rule.states and state not in rule.states:
        raise Conflict(f"Cannot '{rule.name}' instance {server.id} while it is in vm_state {state}")
    if rule.tasks and task not in rule.tasks:
        raise Conflict(
            f"Cannot '{rule.name}' instance {server.id} while it is in task_state {task}"
        )
