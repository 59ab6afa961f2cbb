"""What `hedgerow status` says of the log and of the reconcilers."""

from collections.abc import Sequence

from node.cluster.status import Status
from node.control.runtime import ReconcilerState

Check = tuple[str, bool, str]
"""Name, whether it is well, and a sentence that says what happens next where it is not."""

_STUCK_S = 5.0
_SHOWN = 3


def core_status(found: Status | None, reconcilers: Sequence[ReconcilerState]) -> list[Check]:
    """Return the checks of a node's core; `found`, what the log says, is None before the node is in a cluster."""
    checks = _log_checks(found) if found is not None else []
    checks += [
        (f"reconciler {state.name}", False, _trouble(state))
        for state in reconcilers
        if found is not None and (state.failures or not state.started)
    ]
    return checks


def _log_checks(found: Status) -> list[Check]:
    leads = f"{found.role}, entry {found.applied_index}"
    if not found.is_voter:
        leads = f"learner, entry {found.applied_index}"
    voters = len(found.voters) + found.is_voter
    waiting = "nobody leads: reads go on, writes wait for a majority of the voters"
    return [
        ("log", not found.fault, found.fault or leads),
        (
            "log thread",
            found.last_tick_age_s < _STUCK_S,
            f"last turn {found.last_tick_age_s:.1f} s ago",
        ),
        (
            "quorum",
            found.has_quorum,
            f"a majority of {voters} voters answers" if found.has_quorum else waiting,
        ),
        (
            "disk",
            not found.disk_full,
            "full: only deletes are taken until there is room" if found.disk_full else "has room",
        ),
    ]


def _trouble(state: ReconcilerState) -> str:
    if not state.started:
        return "is still starting"
    return "; ".join(
        f"{one.key} failed {one.attempts} times ({one.error}), again in {one.next_s} s"
        for one in state.failures[:_SHOWN]
    )


def log_gauges(found: Status) -> dict[str, float]:
    """Return what `hedgerow debug metrics` says of the log."""
    return {
        "log_entry": found.applied_index,
        "log_entries_held": found.journal_entries,
        "log_bytes": found.journal_bytes,
        "log_waiting": found.waiting,
        "log_tick_age_seconds": found.last_tick_age_s,
        "log_leads": found.role == "leader",
        "log_has_quorum": found.has_quorum,
        "disk_full": found.disk_full,
    }
