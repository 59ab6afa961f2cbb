"""Which roles hold where: pure decisions over assignments, implications and the tree of projects."""

from collections.abc import Iterable, Mapping, Sequence

from node.plugins.identity.tables import Assignment


def expand(role_ids: Iterable[str], implied: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the roles and all that they imply, however far."""
    found: set[str] = set()
    waiting = list(role_ids)
    while waiting:
        role_id = waiting.pop()
        if role_id not in found:
            found.add(role_id)
            waiting.extend(implied.get(role_id, ()))
    return found


def holds(assignment: Assignment, target_kind: str, target_id: str, above: Sequence[str]) -> bool:
    """Say whether an assignment counts on a target; `above` are its ancestors, the domain included."""
    if assignment.inherited:
        return target_kind == "project" and assignment.target_id in above
    return assignment.target_kind == target_kind and assignment.target_id == target_id


def direct_roles(
    assignments: Iterable[Assignment], target_kind: str, target_id: str, above: Sequence[str] = ()
) -> set[str]:
    """Return the roles that assignments of one user (and the user's groups) give on a target, unexpanded."""
    return {a.role_id for a in assignments if holds(a, target_kind, target_id, above)}


def makes_circle(prior: str, implied_role: str, implied: Mapping[str, Sequence[str]]) -> bool:
    """Say whether a new implication would make a role imply itself."""
    return prior in expand([implied_role], implied)
