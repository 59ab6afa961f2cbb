"""What a server's columns mean, over every combination of them."""

import itertools

import pytest

from node.plugins.compute.server_rules import (
    RULES,
    TASKS,
    check_lock,
    check_state,
    power_state,
    states_of_status,
    status,
    task_state,
    vm_state,
)
from node.plugins.compute.tables import Server
from node.sdk import Conflict

HAVE = (
    "", "building", "active", "stopped", "paused", "suspended", "resized", "rescued", "shelved_offloaded",
    "error", "deleted",
)  # fmt: skip
KINDS = ("build", *TASKS)
STATUSES = {
    "ACTIVE", "BUILD", "SHUTOFF", "PAUSED", "SUSPENDED", "RESCUE", "ERROR", "DELETED", "REBOOT",
    "HARD_REBOOT", "MIGRATING", "REBUILD", "RESIZE", "VERIFY_RESIZE", "REVERT_RESIZE", "SHELVED_OFFLOADED",
}  # fmt: skip


def server(**fields: object) -> Server:
    return Server(id="s", **{"job": 2, "job_done": 2, "have": "active", "want": "active", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("have", "kind", "done", "want"),
    list(itertools.product(HAVE, KINDS, (1, 2), ("active", "absent"))),
)
def test_every_combination_has_a_status(have: str, kind: str, done: int, want: str) -> None:
    row = server(have=have, job_kind=kind, job_done=done, want=want)
    assert status(row) in STATUSES
    if want == "absent":
        assert task_state(row) == "deleting"
    else:
        assert (task_state(row) is None) == (done == 2)
    assert vm_state(row) == (have or "building")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"have": "", "job_kind": "build", "job_done": 1, "node_id": "n"},
            ("BUILD", "building", "spawning"),
        ),
        ({"have": "", "job_kind": "build", "job_done": 1}, ("BUILD", "building", "scheduling")),
        (
            {
                "have": "building",
                "job_kind": "build",
                "job_done": 1,
                "job_step": "networking",
                "node_id": "n",
            },
            ("BUILD", "building", "networking"),
        ),
        ({}, ("ACTIVE", "active", None)),
        ({"job_kind": "reboot_soft", "job_done": 1}, ("REBOOT", "active", "rebooting")),
        ({"job_kind": "reboot_hard", "job_done": 1}, ("HARD_REBOOT", "active", "rebooting_hard")),
        (
            {"have": "stopped", "job_kind": "reboot_hard", "job_done": 1},
            ("SHUTOFF", "stopped", "rebooting_hard"),
        ),
        (
            {"job_kind": "stop", "job_done": 1, "want": "stopped"},
            ("ACTIVE", "active", "powering-off"),
        ),
        ({"have": "stopped"}, ("SHUTOFF", "stopped", None)),
        ({"have": "error"}, ("ERROR", "error", None)),
        ({"override": "error"}, ("ERROR", "error", None)),
        ({"have": "error", "override": "active", "job_done": 1}, ("ACTIVE", "active", None)),
        (
            {"have": "stopped", "job_kind": "rebuild", "job_done": 1},
            ("REBUILD", "stopped", "rebuilding"),
        ),
    ],
)
def test_states(fields: dict[str, object], expected: tuple[str, str, str | None]) -> None:
    row = server(**fields)
    assert (status(row), vm_state(row), task_state(row)) == expected


@pytest.mark.parametrize(
    ("power", "shown"), [(0, 0), (1, 1), (2, 0), (3, 3), (4, 4), (5, 0), (6, 6), (7, 7)]
)
def test_power_state_is_one_of_novas(power: int, shown: int) -> None:
    assert power_state(server(power=power)) == shown


@pytest.mark.parametrize("name", RULES)
def test_rules_refuse_every_state_that_they_do_not_name(name: str) -> None:
    rule = RULES[name]
    for have in HAVE:
        row = server(have=have)
        if rule.states and vm_state(row) not in rule.states:
            with pytest.raises(
                Conflict, match=f"Cannot '{rule.name}' instance s while it is in vm_state"
            ):
                check_state(row, rule)
        else:
            check_state(row, rule)


def test_a_job_waits_for_the_one_before() -> None:
    stopping = server(job_kind="stop", job_done=1)
    with pytest.raises(Conflict, match="task_state powering-off"):
        check_state(stopping, RULES["reboot_soft"])
    check_state(server(job_kind="reboot_soft", job_done=1), RULES["reboot_hard"])
    with pytest.raises(Conflict):
        check_state(server(job_kind="rebuild", job_done=1), RULES["reboot_hard"])


def test_only_administrators_change_what_is_locked() -> None:
    with pytest.raises(Conflict):
        check_lock(server(locked=True), is_admin=False)
    check_lock(server(locked=True), is_admin=True)
    check_lock(server(), is_admin=False)


def test_states_of_a_status() -> None:
    assert states_of_status("active") == {"active"}
    assert states_of_status("REBUILD") == {"active", "stopped", "error"}
    assert states_of_status("nonsense") is None
