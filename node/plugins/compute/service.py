"""The compute service: every route of it on one page."""

from node.plugins.compute import (
    flavor_api,
    flavor_specs_api,
    keypair_api,
    server_action_api,
    server_address_api,
    server_api,
    server_create_api,
    server_history_api,
    server_metadata_api,
    version_api,
)
from node.plugins.compute.faults import fault, invalid
from node.plugins.compute.policies import POLICIES, RULES
from node.sdk import Service

SERVICE = Service(
    name="nova",
    type="compute",
    path="/compute",
    endpoint="/compute/v2.1",
    description="OpenStack Compute",
    fault=fault,
    invalid=invalid,
    microversions=version_api.MICROVERSIONS,
    policies=POLICIES,
    rules=RULES,
    routes=(
        *version_api.ROUTES,
        *flavor_api.ROUTES,
        *flavor_specs_api.ROUTES,
        *keypair_api.ROUTES,
        *server_create_api.ROUTES,
        *server_api.ROUTES,
        *server_action_api.ROUTES,
        *server_metadata_api.ROUTES,
        *server_address_api.ROUTES,
        *server_history_api.ROUTES,
    ),
)
