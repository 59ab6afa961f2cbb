"""Tags of projects.

Source: https://docs.openstack.org/api-ref/identity/v3/#project-tags
"""

from typing import Any

import msgspec

from node.plugins.identity.bodies import Tags
from node.plugins.identity.change_rules import find, update
from node.plugins.identity.faults import missing, sentence
from node.plugins.identity.listing import self_link
from node.plugins.identity.project_api import target
from node.plugins.identity.project_bodies import TagsBody
from node.plugins.identity.project_rules import may_change
from node.plugins.identity.tables import Project
from node.sdk import BadRequest, Context, Reply, Route

_MAX_TAGS = 80


def list_tags(ctx: Context, project_id: str) -> dict[str, Any]:
    """List a project's tags."""
    project = find(ctx, Project, "project", project_id)
    return _shown(ctx, project.tags)


def _shown(ctx: Context, tags: tuple[str, ...]) -> dict[str, Any]:
    return {"tags": tags, "links": {"next": None, "self": self_link(ctx), "previous": None}}


def check_tag(ctx: Context, project_id: str, tag: str) -> None:
    """Say whether a project has a tag."""
    if tag not in find(ctx, Project, "project", project_id).tags:
        raise missing("project tag", tag)


def replace_tags(ctx: Context, project_id: str) -> dict[str, Any]:
    """Replace all tags of a project."""
    tags = tuple(dict.fromkeys(ctx.body.tags))
    return _shown(ctx, _store(ctx, project_id, lambda _held: tags).tags)


def add_tag(ctx: Context, project_id: str, tag: str) -> Reply:
    """Add a tag."""
    try:
        msgspec.convert([tag], Tags)
    except msgspec.ValidationError as error:
        raise BadRequest(sentence(str(error))) from error
    _store(ctx, project_id, lambda held: held if tag in held else (*held, tag))
    return Reply(headers={"Location": ctx.url(f"/v3/projects/{project_id}/tags/{tag}")})


def delete_tags(ctx: Context, project_id: str) -> None:
    """Delete all tags."""
    _store(ctx, project_id, lambda _held: ())


def delete_tag(ctx: Context, project_id: str, tag: str) -> None:
    """Delete a tag."""
    check_tag(ctx, project_id, tag)
    _store(ctx, project_id, lambda held: tuple(other for other in held if other != tag))


def _store(ctx: Context, project_id: str, tags_of: Any) -> Project:
    def fields_of(project: Project) -> dict[str, Any]:
        may_change(project)
        tags = tags_of(project.tags)
        if len(tags) > _MAX_TAGS:
            raise BadRequest(f"A project has at most {_MAX_TAGS} tags.")
        return {"tags": tags}

    return update(ctx, Project, "project", project_id, fields_of)


_ALL = "/v3/projects/{project_id}/tags"
_ONE = "/v3/projects/{project_id}/tags/{tag}"
_SEE = "identity:list_project_tags"
_CHANGE = "identity:update_project_tags"

ROUTES = (
    Route(method="GET", path=_ALL, handler=list_tags, policy=_SEE, target=target),
    Route(
        method="PUT", path=_ALL, handler=replace_tags, policy=_CHANGE, target=target, body=TagsBody
    ),
    Route(
        method="DELETE", path=_ALL, handler=delete_tags, policy=_CHANGE, target=target, status=204
    ),
    *(
        Route(method=method, path=_ONE, handler=check_tag, policy=_SEE, target=target, status=204)
        for method in ("GET", "HEAD")
    ),
    Route(method="PUT", path=_ONE, handler=add_tag, policy=_CHANGE, target=target, status=201),
    Route(
        method="DELETE", path=_ONE, handler=delete_tag, policy=_CHANGE, target=target, status=204
    ),
)
