"""The network service as one literal: Neutron v2.0 at `/network`."""

from node.plugins.network import (
    address_scope_api,
    agent_api,
    auto_topology_api,
    extension_api,
    floatingip_api,
    network_api,
    port_api,
    quota_api,
    rbac_api,
    router_api,
    router_interface_api,
    secgroup_api,
    secgroup_rule_api,
    subnet_api,
    subnetpool_api,
    tag_api,
)
from node.plugins.network.faults import fault, malformed
from node.plugins.network.policies import POLICIES, RULES
from node.sdk import Service

SERVICE = Service(
    name="neutron",
    type="network",
    path="/network",
    endpoint="/network",
    routes=(
        *extension_api.ROUTES,
        *network_api.ROUTES,
        *subnet_api.ROUTES,
        *subnetpool_api.ROUTES,
        *address_scope_api.ROUTES,
        *port_api.ROUTES,
        *router_api.ROUTES,
        *router_interface_api.ROUTES,
        *floatingip_api.ROUTES,
        *secgroup_api.ROUTES,
        *secgroup_rule_api.ROUTES,
        *rbac_api.ROUTES,
        *quota_api.ROUTES,
        *tag_api.ROUTES,
        *agent_api.ROUTES,
        *auto_topology_api.ROUTES,
    ),
    fault=fault,
    invalid=malformed,
    policies=POLICIES,
    rules=RULES,
    description="Networks, subnets, ports, routers, floating IPs and security groups",
)
