"""The image service's endpoints, as data."""

from typing import Any

from node.plugins.image import (
    copy_api,
    data_api,
    image_api,
    import_api,
    list_api,
    member_api,
    metadef_routes,
    schema_api,
    task_api,
)
from node.plugins.image.faults import fault
from node.plugins.image.policies import POLICIES
from node.sdk import Route, Service

_V2 = "/v2"
_IMAGE = "/v2/images/{image_id}"
_MEMBER = "/v2/images/{image_id}/members/{member_id}"

ROUTES = (
    Route(method="GET", path="/", handler=schema_api.versions, policy="public", status=300),
    Route(method="GET", path="/versions", handler=schema_api.versions_plain, policy="public"),
    Route(method="GET", path=_V2, handler=schema_api.versions_plain, policy="public"),
    Route(method="GET", path="/v2/schemas/{schema}", handler=schema_api.schema, policy="any"),
    Route(method="GET", path="/v2/info/import", handler=import_api.info_import, policy="any"),
    Route(method="GET", path="/v2/info/stores", handler=data_api.info_stores, policy="any"),
    Route(
        method="POST",
        path="/v2/images",
        handler=image_api.create,
        policy="image:add_image",
        status=201,
        body=Any,
    ),
    Route(method="GET", path="/v2/images", handler=list_api.index, policy="image:get_images"),
    Route(method="GET", path=_IMAGE, handler=image_api.show, policy="any"),
    Route(method="PATCH", path=_IMAGE, handler=image_api.update, policy="any", body=Any),
    Route(method="DELETE", path=_IMAGE, handler=image_api.remove, policy="any", status=204),
    Route(
        method="PUT",
        path=f"{_IMAGE}/file",
        handler=data_api.upload,
        policy="any",
        status=204,
        stream=True,
    ),
    Route(method="GET", path=f"{_IMAGE}/file", handler=data_api.download, policy="any"),
    Route(
        method="PUT",
        path=f"{_IMAGE}/stage",
        handler=data_api.stage,
        policy="any",
        status=204,
        stream=True,
    ),
    Route(
        method="POST",
        path=f"{_IMAGE}/import",
        handler=import_api.import_image,
        policy="any",
        status=202,
        body=Any,
    ),
    Route(method="GET", path=f"{_IMAGE}/tasks", handler=import_api.tasks, policy="image:get_tasks"),
    Route(
        method="POST",
        path=f"{_IMAGE}/actions/deactivate",
        handler=image_api.deactivate,
        policy="any",
        status=204,
    ),
    Route(
        method="POST",
        path=f"{_IMAGE}/actions/reactivate",
        handler=image_api.reactivate,
        policy="any",
        status=204,
    ),
    Route(
        method="PUT",
        path=f"{_IMAGE}/tags/{{tag}}",
        handler=image_api.add_tag,
        policy="any",
        status=204,
    ),
    Route(
        method="DELETE",
        path=f"{_IMAGE}/tags/{{tag}}",
        handler=image_api.remove_tag,
        policy="any",
        status=204,
    ),
    Route(method="POST", path=f"{_IMAGE}/members", handler=member_api.add, policy="any", body=Any),
    Route(method="GET", path=f"{_IMAGE}/members", handler=member_api.index, policy="any"),
    Route(method="GET", path=_MEMBER, handler=member_api.show, policy="any"),
    Route(method="PUT", path=_MEMBER, handler=member_api.update, policy="any", body=Any),
    Route(method="DELETE", path=_MEMBER, handler=member_api.remove, policy="any", status=204),
    Route(method="GET", path="/v2/tasks", handler=task_api.index, policy="image:tasks_api_access"),
    Route(
        method="POST",
        path="/v2/tasks",
        handler=task_api.create,
        policy="image:tasks_api_access",
        status=201,
        body=Any,
    ),
    Route(
        method="GET",
        path="/v2/tasks/{task_id}",
        handler=task_api.show,
        policy="image:tasks_api_access",
    ),
    Route(
        method="GET",
        path="/v2/copies/{image_id}",
        handler=copy_api.copy,
        policy="public",
        peers_only=True,
    ),
    Route(
        method="GET",
        path="/v2/staged/{image_id}",
        handler=copy_api.staged,
        policy="public",
        peers_only=True,
    ),
)

SERVICE = Service(
    name="glance",
    type="image",
    path="/image",
    endpoint="/image",
    routes=(*ROUTES, *metadef_routes.ROUTES),
    fault=fault,
    unslashed=("/v2/images",),
    policies=POLICIES,
    description="Image service",
)
