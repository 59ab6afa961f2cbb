"""Which endpoints, or groups of them, a project's catalog shows; without any choice it shows all.

Source: https://docs.openstack.org/api-ref/identity/v3-ext/#os-ep-filter-api
"""

from collections.abc import Sequence
from typing import Any

from node.plugins.identity.catalog_rules import endpoints, fits, shown_endpoints
from node.plugins.identity.catalog_tables import EndpointGrant, EndpointGroup
from node.plugins.identity.catalog_view import endpoint_view
from node.plugins.identity.change_rules import find, stamps
from node.plugins.identity.endpoint_api import find_endpoint
from node.plugins.identity.endpoint_group_api import find_group, group_view
from node.plugins.identity.faults import missing
from node.plugins.identity.listing import collection
from node.plugins.identity.project_view import project_view
from node.plugins.identity.tables import Project
from node.sdk import AnyOp, Context, Route, check, delete, insert


def _choose(ctx: Context, project_id: str, subject_id: str, kind: str) -> None:
    def plan() -> tuple[Sequence[AnyOp], None]:
        project = find(ctx, Project, "project", project_id)
        ident = f"{project_id}:{subject_id}"
        if ctx.db.get(EndpointGrant, ident) is not None:
            return [], None
        row = EndpointGrant(
            id=ident, project_id=project_id, subject_id=subject_id, kind=kind, **stamps(ctx)
        )
        return [check(project), insert(row)], None

    ctx.transact(plan)


def _choice(ctx: Context, project_id: str, subject_id: str) -> EndpointGrant:
    find(ctx, Project, "project", project_id)
    row = ctx.db.get(EndpointGrant, f"{project_id}:{subject_id}")
    if row is None:
        raise missing("endpoint", f"{subject_id} is not chosen for project {project_id}")
    return row


def _drop(ctx: Context, project_id: str, subject_id: str) -> None:
    def plan() -> tuple[Sequence[AnyOp], None]:
        row = _choice(ctx, project_id, subject_id)
        return [delete(EndpointGrant, row.id, must_exist=True)], None

    ctx.transact(plan, frees=True)


def add_endpoint(ctx: Context, project_id: str, endpoint_id: str) -> None:
    """Show an endpoint in a project's catalog."""
    find_endpoint(ctx, endpoint_id)
    _choose(ctx, project_id, endpoint_id, "endpoint")


def check_endpoint(ctx: Context, project_id: str, endpoint_id: str) -> None:
    """Say whether an endpoint was chosen for a project."""
    _choice(ctx, project_id, endpoint_id)


def remove_endpoint(ctx: Context, project_id: str, endpoint_id: str) -> None:
    """Choose an endpoint no longer."""
    _drop(ctx, project_id, endpoint_id)


def list_endpoints_of_project(ctx: Context, project_id: str) -> dict[str, Any]:
    """List the endpoints that were chosen for a project, by itself or by group."""
    find(ctx, Project, "project", project_id)
    chosen = ctx.db.count(EndpointGrant, project_id=project_id)
    rows = shown_endpoints(ctx, project_id) if chosen else []
    return collection(ctx, "endpoints", rows, lambda row: endpoint_view(ctx, row))


def list_projects_of_endpoint(ctx: Context, endpoint_id: str) -> dict[str, Any]:
    """List the projects for which an endpoint was chosen."""
    find_endpoint(ctx, endpoint_id)
    return _projects(ctx, endpoint_id)


def _projects(ctx: Context, subject_id: str) -> dict[str, Any]:
    ids = [row.project_id for row in ctx.db.rows(EndpointGrant, subject_id=subject_id)]
    rows = ctx.db.rows(Project, id=ids) if ids else []
    return collection(ctx, "projects", rows, lambda row: project_view(ctx, row))


def add_group(ctx: Context, endpoint_group_id: str, project_id: str) -> None:
    """Show a group of endpoints in a project's catalog."""
    find_group(ctx, endpoint_group_id)
    _choose(ctx, project_id, endpoint_group_id, "group")


def check_group(ctx: Context, endpoint_group_id: str, project_id: str) -> dict[str, Any]:
    """Show that a group was chosen for a project."""
    find_group(ctx, endpoint_group_id)
    _choice(ctx, project_id, endpoint_group_id)
    return {
        "project_endpoint_group": {"endpoint_group_id": endpoint_group_id, "project_id": project_id}
    }


def remove_group(ctx: Context, endpoint_group_id: str, project_id: str) -> None:
    """Choose a group no longer."""
    find_group(ctx, endpoint_group_id)
    _drop(ctx, project_id, endpoint_group_id)


def list_groups_of_project(ctx: Context, project_id: str) -> dict[str, Any]:
    """List the groups that were chosen for a project."""
    find(ctx, Project, "project", project_id)
    grants = ctx.db.rows(EndpointGrant, project_id=project_id, kind="group")
    ids = [grant.subject_id for grant in grants]
    rows = ctx.db.rows(EndpointGroup, id=ids) if ids else []
    return collection(ctx, "endpoint_groups", rows, lambda row: group_view(ctx, row))


def list_projects_of_group(ctx: Context, endpoint_group_id: str) -> dict[str, Any]:
    """List the projects for which a group was chosen."""
    find_group(ctx, endpoint_group_id)
    return _projects(ctx, endpoint_group_id)


def list_endpoints_of_group(ctx: Context, endpoint_group_id: str) -> dict[str, Any]:
    """List the endpoints in a group."""
    group = find_group(ctx, endpoint_group_id)
    rows = [endpoint for endpoint in endpoints(ctx) if fits(group, endpoint)]
    return collection(ctx, "endpoints", rows, lambda row: endpoint_view(ctx, row))


_BASE = "/v3/OS-EP-FILTER"
_ENDPOINT = _BASE + "/projects/{project_id}/endpoints/{endpoint_id}"
_GROUP = _BASE + "/endpoint_groups/{endpoint_group_id}/projects/{project_id}"

ROUTES = (
    *(
        Route(method=method, path=path, handler=handler, policy=f"identity:{rule}", status=status)
        for method, path, handler, rule, status in (
            ("PUT", _ENDPOINT, add_endpoint, "add_endpoint_to_project", 204),
            ("HEAD", _ENDPOINT, check_endpoint, "check_endpoint_in_project", 204),
            ("GET", _ENDPOINT, check_endpoint, "check_endpoint_in_project", 204),
            ("DELETE", _ENDPOINT, remove_endpoint, "remove_endpoint_from_project", 204),
            ("PUT", _GROUP, add_group, "add_endpoint_group_to_project", 204),
            ("HEAD", _GROUP, check_group, "get_endpoint_group_in_project", 200),
            ("GET", _GROUP, check_group, "get_endpoint_group_in_project", 200),
            ("DELETE", _GROUP, remove_group, "remove_endpoint_group_from_project", 204),
        )
    ),
    *(
        Route(method="GET", path=_BASE + path, handler=handler, policy=f"identity:{rule}")
        for path, handler, rule in (
            (
                "/projects/{project_id}/endpoints",
                list_endpoints_of_project,
                "list_endpoints_for_project",
            ),
            (
                "/endpoints/{endpoint_id}/projects",
                list_projects_of_endpoint,
                "list_projects_for_endpoint",
            ),
            (
                "/projects/{project_id}/endpoint_groups",
                list_groups_of_project,
                "list_endpoint_groups_for_project",
            ),
            (
                "/endpoint_groups/{endpoint_group_id}/projects",
                list_projects_of_group,
                "list_projects_associated_with_endpoint_group",
            ),
            (
                "/endpoint_groups/{endpoint_group_id}/endpoints",
                list_endpoints_of_group,
                "list_endpoints_associated_with_endpoint_group",
            ),
        )
    ),
)
