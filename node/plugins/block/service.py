"""The block storage service: every route of it on one page.

Each path is served twice, with the project's id in it and, as since 3.67, without.
"""

import functools
from collections.abc import Callable
from typing import Any

import msgspec

from node.plugins.block import (
    attachment_api,
    backup_api,
    backup_record_api,
    cloud_api,
    group_api,
    group_snapshot_api,
    group_type_api,
    host_api,
    manage_api,
    metadata_api,
    qos_api,
    quota_api,
    replica_peer_api,
    snapshot_api,
    transfer_api,
    type_api,
    type_specs_api,
    version_api,
    volume_action_api,
    volume_api,
    volume_create_api,
    volume_hold_api,
    volume_image_api,
)
from node.plugins.block.faults import fault, invalid
from node.plugins.block.policies import POLICIES, RULES
from node.sdk import BadRequest, Context, Route, Service

_ROUTES = (
    *attachment_api.ROUTES,
    *backup_api.ROUTES,
    *backup_record_api.ROUTES,
    *cloud_api.ROUTES,
    *group_api.ROUTES,
    *group_snapshot_api.ROUTES,
    *group_type_api.ROUTES,
    *host_api.ROUTES,
    *manage_api.ROUTES,
    *metadata_api.ROUTES,
    *qos_api.ROUTES,
    *quota_api.ROUTES,
    *snapshot_api.ROUTES,
    *transfer_api.ROUTES,
    *type_api.ROUTES,
    *type_specs_api.ROUTES,
    *volume_action_api.ROUTES,
    *volume_api.ROUTES,
    *volume_create_api.ROUTES,
    *volume_hold_api.ROUTES,
    *volume_image_api.ROUTES,
)


def _within_project(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return a handler that refuses a path whose project is not the token's."""

    @functools.wraps(handler)
    def checked(ctx: Context, project_id: str, **params: str) -> Any:
        if project_id != ctx.project_id:
            raise BadRequest("Malformed request url")
        return handler(ctx, **params)

    del checked.__wrapped__
    return checked


def _with_project(routes: tuple[Route, ...]) -> tuple[Route, ...]:
    return tuple(
        msgspec.structs.replace(
            route,
            path=route.path.replace("/v3/", "/v3/{project_id}/", 1),
            handler=_within_project(route.handler),
        )
        for route in routes
    )


SERVICE = Service(
    name="cinder",
    type="block-storage",
    aliases=("volumev3",),
    path="/volume",
    endpoint="/volume/v3/{project_id}",
    description="OpenStack Block Storage",
    request_id_header="X-Compute-Request-Id",
    fault=fault,
    invalid=invalid,
    microversions=version_api.MICROVERSIONS,
    policies=POLICIES,
    rules=RULES,
    routes=(
        *version_api.ROUTES,
        *replica_peer_api.ROUTES,
        *_ROUTES,
        *_with_project(_ROUTES),
    ),
)
