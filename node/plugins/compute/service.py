"""The compute service: every route of it on one page."""

import msgspec

from node.plugins.compute import (
    aggregate_api,
    audit_api,
    extension_api,
    flavor_api,
    flavor_specs_api,
    floating_ip_api,
    guest_password,
    host_api,
    image_api,
    keypair_api,
    migration_api,
    migration_files_api,
    quota_api,
    retired_api,
    security_group_api,
    server_action_api,
    server_address_api,
    server_api,
    server_backup_api,
    server_console_api,
    server_create_api,
    server_diagnostics_api,
    server_evacuate_api,
    server_group_api,
    server_history_api,
    server_interface_api,
    server_metadata_api,
    server_migrate_api,
    server_peer_api,
    server_rebuild_api,
    server_rescue_api,
    server_resize_api,
    server_shelve_api,
    server_snapshot_api,
    server_volume_api,
    usage_api,
    version_api,
    volume_proxy_api,
)
from node.plugins.compute.faults import fault, invalid
from node.plugins.compute.policies import POLICIES, RULES
from node.sdk import Route, Service

_ROUTES = (
    *aggregate_api.ROUTES,
    *audit_api.ROUTES,
    *extension_api.ROUTES,
    *flavor_api.ROUTES,
    *flavor_specs_api.ROUTES,
    *floating_ip_api.ROUTES,
    *host_api.ROUTES,
    *image_api.ROUTES,
    *keypair_api.ROUTES,
    *migration_api.ROUTES,
    *migration_files_api.ROUTES,
    *quota_api.ROUTES,
    *retired_api.ROUTES,
    *security_group_api.ROUTES,
    *server_action_api.ROUTES,
    *server_address_api.ROUTES,
    *server_api.ROUTES,
    *server_backup_api.ROUTES,
    *server_console_api.ROUTES,
    *server_create_api.ROUTES,
    *server_diagnostics_api.ROUTES,
    *server_evacuate_api.ROUTES,
    *server_group_api.ROUTES,
    *server_history_api.ROUTES,
    *server_interface_api.ROUTES,
    *server_metadata_api.ROUTES,
    *server_migrate_api.ROUTES,
    *server_peer_api.ROUTES,
    *server_rebuild_api.ROUTES,
    *server_rescue_api.ROUTES,
    *server_resize_api.ROUTES,
    *server_shelve_api.ROUTES,
    *server_snapshot_api.ROUTES,
    *server_volume_api.ROUTES,
    *guest_password.ROUTES,
    *usage_api.ROUTES,
    *volume_proxy_api.ROUTES,
)


def _legacy(routes: tuple[Route, ...]) -> tuple[Route, ...]:
    """Return the routes of v2.0, which clients without microversions use: those of 2.1 under another prefix."""
    return tuple(
        msgspec.structs.replace(route, path=route.path.replace("/v2.1", "/v2", 1))
        for route in routes
        if route.since is None and not route.peers_only
    )


SERVICE = Service(
    name="nova",
    type="compute",
    path="/compute",
    endpoint="/compute/v2.1",
    description="OpenStack Compute",
    request_id_header="X-Compute-Request-Id",
    fault=fault,
    invalid=invalid,
    microversions=version_api.MICROVERSIONS,
    unslashed=("/v2.1/images", "/v2.1/os-security-groups", "/v2.1/os-simple-tenant-usage"),
    policies=POLICIES,
    rules=RULES,
    routes=(*version_api.ROUTES, *_ROUTES, *_legacy(_ROUTES)),
)
