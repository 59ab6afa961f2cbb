"""Version documents and the list of extensions: an alias is listed only when what it names works.

Source: https://docs.openstack.org/api-ref/network/v2/#extensions
"""

from typing import Any

from node.plugins.network.faults import not_found
from node.sdk import Context, Route

_UPDATED = "2026-11-22T00:00:00-00:00"

EXTENSIONS: tuple[tuple[str, str, str], ...] = (
    ("address-scope", "Address scope", "Address scopes of subnet pools."),
    ("agent", "agent", "The nodes' parts as agents."),
    ("allowed-address-pairs", "Allowed Address Pairs", "More addresses that a port may send from."),
    (
        "auto-allocated-topology",
        "Auto Allocated Topology Services",
        "A network behind a router for a project that has none.",
    ),
    ("availability_zone", "Availability Zone", "Availability zones."),
    ("binding", "Port Binding", "Where a port is plugged."),
    ("default-subnetpools", "Default Subnetpools", "A default subnet pool of each IP version."),
    ("dns-integration", "DNS Integration", "Names of ports."),
    ("dns-domain-ports", "dns_domain for ports", "Domains of ports."),
    (
        "ext-gw-mode",
        "Neutron L3 Configurable external gateway mode",
        "Switch source NAT of a gateway.",
    ),
    ("external-net", "Neutron external network", "Networks that reach outside."),
    ("extra_dhcp_opt", "Neutron Extra DHCP options", "DHCP options of single ports."),
    ("extraroute", "Neutron Extra Route", "Static routes of routers."),
    ("extraroute-atomic", "Atomically add/remove extra routes", "Add or remove single routes."),
    ("filter-validation", "Filter parameters validation", "Unknown filters are refused."),
    (
        "fip-port-details",
        "Floating IP Port Details Extension",
        "The port of a floating IP with its details.",
    ),
    ("ip_allocation", "IP Allocation", "Whether a port has addresses."),
    (
        "ip-substring-filtering",
        "IP address substring filtering",
        "Find ports by part of an address.",
    ),
    ("net-mtu", "Network MTU", "MTU of networks."),
    ("net-mtu-writable", "Network MTU (writable)", "MTU of networks may be set."),
    ("network-ip-availability", "Network IP Availability", "How many addresses are used."),
    ("network_availability_zone", "Network Availability Zone", "Availability zones of networks."),
    ("pagination", "Pagination support", "Lists in pages."),
    ("port-security", "Port Security", "Anti-spoofing may be switched off."),
    ("project-id", "project_id field enabled", "project_id beside tenant_id."),
    ("provider", "Provider Network", "How a network is carried."),
    ("quotas", "Quota management support", "Limits of projects."),
    (
        "quota-check-limit",
        "Quota engine limit check",
        "Limits below the usage are refused on demand.",
    ),
    ("quota_details", "Quota details management support", "Limits with what is used."),
    ("rbac-policies", "RBAC Policies", "Networks offered to single projects."),
    (
        "rbac-security-groups",
        "Add security_group type to network RBAC",
        "Security groups offered likewise.",
    ),
    ("rbac-subnetpool", "Add subnetpool type to RBAC", "Subnet pools offered likewise."),
    ("rbac-address-scope", "Add address_scope type to RBAC", "Address scopes offered likewise."),
    (
        "revision-if-match",
        "If-Match constraints based on revision_number",
        "Guards against stale changes.",
    ),
    ("router", "Neutron L3 Router", "Routers and floating IPs."),
    ("router_availability_zone", "Router Availability Zone", "Availability zones of routers."),
    ("security-group", "security-group", "Security groups."),
    ("security-groups-normalized-cidr", "Normalized CIDR field", "CIDRs of rules in normal form."),
    (
        "security-groups-rules-belongs-to-default-sg",
        "Rules of the default group",
        "Marks such rules.",
    ),
    (
        "security-groups-shared-filtering",
        "Security group filtering on the shared field",
        "Filter on shared.",
    ),
    ("service-type", "Neutron Service Type Management", "Service providers."),
    ("sorting", "Sorting support", "Lists sorted by several keys."),
    ("standard-attr-description", "standard-attr-description", "Descriptions of all resources."),
    ("standard-attr-revisions", "Resource revision numbers", "Revision numbers of all resources."),
    ("standard-attr-tag", "Tag support for resources with standard attribute", "Tags."),
    ("standard-attr-timestamp", "Resource timestamps", "When resources were made and changed."),
    ("stateful-security-group", "Stateful security group", "The stateful field of groups."),
    ("tag", "Tag support", "Tags of networks."),
    ("subnet_allocation", "Subnet Allocation", "Subnet pools."),
    (
        "subnet-dns-publish-fixed-ip",
        "Subnet DNS publish fixed IP",
        "The field dns_publish_fixed_ip.",
    ),
    ("subnet-service-types", "Subnet service types", "Subnets for some device owners only."),
)


def list_extensions(_ctx: Context) -> dict[str, Any]:
    """List what is implemented."""
    return {"extensions": [_view(*extension) for extension in EXTENSIONS]}


def show_extension(_ctx: Context, alias: str) -> dict[str, Any]:
    """Show one extension."""
    for extension in EXTENSIONS:
        if extension[0] == alias:
            return {"extension": _view(*extension)}
    raise not_found("ExtensionNotFound", f"Extension with alias {alias} does not exist")


def list_versions(ctx: Context) -> dict[str, Any]:
    """Name the one version of the API."""
    links = [{"rel": "self", "href": ctx.url("/v2.0/")}]
    return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}


def show_version(ctx: Context) -> dict[str, Any]:
    """Name the collections of the API."""
    names = (
        ("network", "networks"),
        ("subnet", "subnets"),
        ("port", "ports"),
        ("router", "routers"),
        ("floatingip", "floatingips"),
        ("security-group", "security-groups"),
        ("security-group-rule", "security-group-rules"),
        ("subnetpool", "subnetpools"),
        ("address-scope", "address-scopes"),
        ("rbac-policy", "rbac-policies"),
        ("quota", "quotas"),
        ("agent", "agents"),
        ("extension", "extensions"),
    )
    return {
        "resources": [
            {
                "name": name,
                "collection": collection,
                "links": [{"rel": "self", "href": ctx.url(f"/v2.0/{collection}")}],
            }
            for name, collection in names
        ]
    }


def _view(alias: str, name: str, description: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": name,
        "description": description,
        "updated": _UPDATED,
        "links": [],
    }


ROUTES = (
    Route(method="GET", path="/", handler=list_versions, policy="public"),
    Route(method="GET", path="/v2.0", handler=show_version, policy="public"),
    Route(method="GET", path="/v2.0/extensions", handler=list_extensions, policy="any"),
    Route(method="GET", path="/v2.0/extensions/{alias}", handler=show_extension, policy="any"),
)
