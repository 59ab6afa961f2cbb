"""Tasks, as administrators make and watch them: imports of images that the task itself makes.

Source: https://docs.openstack.org/api-ref/image/v2/#tasks
"""

from collections.abc import Sequence
from typing import Any

from node.plugins.image import import_rules
from node.plugins.image.image_api import new_image
from node.plugins.image.image_view import task_view
from node.plugins.image.import_api import new_task, start_ops
from node.plugins.image.section import ImageSection
from node.plugins.image.tables import ImageTask
from node.sdk import AnyOp, BadRequest, Context, NotFound, Reply, insert

_PAGE, _MAX_PAGE = 25, 1000
_STATUSES = ("pending", "processing", "success", "failure")


def create(ctx: Context) -> Reply:
    """Begin the import of a URL as a new image."""
    kind = ctx.body.get("type") if isinstance(ctx.body, dict) else None
    given = ctx.body.get("input") if isinstance(ctx.body, dict) else None
    if kind != "import":
        raise BadRequest(f"Task type {kind!r} is not supported: use 'import'")
    if not isinstance(given, dict):
        raise BadRequest("Input to a task of type 'import' must be an object")
    for name in ("import_from", "import_from_format", "image_properties"):
        if name not in given:
            raise BadRequest(f"Input does not contain '{name}' field")
    properties = given["image_properties"]
    if not isinstance(properties, dict):
        raise BadRequest("Input 'image_properties' must be an object")
    uri = import_rules.uri(given["import_from"], ctx.config.section(ImageSection))
    wanted = {"disk_format": given["import_from_format"], "container_format": "bare", **properties}
    image, ops = new_image(ctx, wanted)
    task = new_task(
        ctx, image.id, ctx.project_id, type="import", method="web-download", uri=uri, input=given
    )

    def plan() -> tuple[Sequence[AnyOp], None]:
        return [*ops, *start_ops(ctx, task), insert(task)], None

    ctx.transact(plan)
    return Reply(status=201, body=task_view(task), headers={"Location": ctx.url(f"/v2/tasks/{task.id}")})


def index(ctx: Context) -> dict[str, Any]:
    """List tasks, the newest first."""
    status, kind = ctx.param("status"), ctx.param("type")
    if status is not None and status not in _STATUSES:
        raise BadRequest(f"Invalid status value: {status}")
    text = ctx.param("limit", str(_PAGE)) or ""
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise BadRequest("limit param must be an integer of at least 0")
    tasks = [
        task for task in ctx.db.rows(ImageTask) if status in (None, task.status) and kind in (None, task.type)
    ]
    tasks.sort(key=lambda task: (task.created_at, task.id), reverse=True)
    marker, ids = ctx.param("marker"), [task.id for task in tasks]
    if marker and marker not in ids:
        raise BadRequest(f"marker {marker} is not a task that can be listed")
    start = ids.index(marker) + 1 if marker else 0
    end = start + min(int(text), _MAX_PAGE)
    answer: dict[str, Any] = {
        "tasks": [_brief(task) for task in tasks[start:end]],
        "first": "/v2/tasks",
        "schema": "/v2/schemas/tasks",
    }
    if start < end < len(tasks):
        answer["next"] = f"/v2/tasks?marker={ids[end - 1]}&limit={text}"
    return answer


def _brief(task: ImageTask) -> dict[str, Any]:
    view = task_view(task)
    return {name: value for name, value in view.items() if name not in ("input", "result", "message")}


def show(ctx: Context, task_id: str) -> dict[str, Any]:
    """Show a task."""
    task = ctx.db.get(ImageTask, task_id)
    if task is None:
        raise NotFound(f"No task found with ID {task_id}")
    return task_view(task)
