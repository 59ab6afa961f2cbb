"""The list of extensions, which API 2.1 keeps for old clients: each names a part of the API that is offered.

Source: https://docs.openstack.org/api-ref/compute/#extensions-extensions-deprecated
"""

from typing import Any

from node.sdk import Context, NotFound, Route

_UPDATED = "2014-12-03T00:00:00Z"
_NAMESPACE = "http://docs.openstack.org/compute/ext/fake_xml"
_EXTENSIONS = {
    "NMN": "Multiple network support.",
    "OS-DCF": "Disk Management Extension.",
    "OS-EXT-AZ": "Extended Availability Zone support.",
    "OS-EXT-IPS": "Adds type parameter to the ip list.",
    "OS-EXT-IPS-MAC": "Adds mac address parameter to the ip list.",
    "OS-EXT-SRV-ATTR": "Extended Server Attributes support.",
    "OS-EXT-STS": "Extended Status support.",
    "OS-FLV-DISABLED": "Support to show the disabled status of a flavor.",
    "OS-FLV-EXT-DATA": "Provide additional data for flavors.",
    "OS-SCH-HNT": "Pass arbitrary key/value pairs to the scheduler.",
    "OS-SRV-USG": "Adds launched_at and terminated_at on Servers.",
    "extensions": "Extension support.",
    "flavors": "Flavors Extension.",
    "ips": "Server addresses.",
    "limits": "Limits support.",
    "server-metadata": "Server Metadata API.",
    "servers": "Servers.",
    "versions": "API Version information.",
    "os-admin-actions": "Enable admin-only server actions.",
    "os-aggregates": "Admin-only aggregate administration.",
    "os-migrations": "Provide information on migrations.",
    "os-attach-interfaces": "Attach interface support.",
    "os-availability-zone": "List availability zones.",
    "os-config-drive": "Config Drive Extension.",
    "os-console-output": "Console log output support, with tailing ability.",
    "os-deferred-delete": "Instance deferred delete.",
    "os-flavor-access": "Flavor access support.",
    "os-flavor-extra-specs": "Flavors extra specs support.",
    "os-flavor-manage": "Flavor create/delete API support.",
    "os-flavor-rxtx": "Support to show the rxtx status of a flavor.",
    "os-flavor-swap": "Support to show the swap status of a flavor.",
    "os-floating-ip-pools": "Floating IPs support.",
    "os-floating-ips": "Floating IPs support.",
    "os-hosts": "Admin-only host administration.",
    "os-hypervisors": "Admin-only hypervisor administration.",
    "os-instance-actions": "View a log of actions and events taken on an instance.",
    "os-keypairs": "Keypair Support.",
    "os-lock-server": "Enable lock/unlock server actions.",
    "os-multinic": "Multiple network support.",
    "os-multiple-create": "Allow multiple create in the Create Server v2.1 API.",
    "os-pause-server": "Enable pause/unpause server actions.",
    "os-personality": "Personality support.",
    "os-quota-class-sets": "Quota classes management support.",
    "os-quota-sets": "Quotas management support.",
    "os-security-groups": "Security group support.",
    "os-server-groups": "Server group support.",
    "os-server-password": "Server password support.",
    "os-server-start-stop": "Start/Stop instance compute API support.",
    "os-services": "Services support.",
    "os-simple-tenant-usage": "Simple tenant usage extension.",
    "os-suspend-server": "Enable suspend/resume server actions.",
    "os-used-limits": "Provide data on limited resource that are being used.",
    "os-user-data": "Add user_data to the Create Server API.",
}


def _view(alias: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": alias.removeprefix("os-").replace("-", " ").title().replace(" ", ""),
        "description": _EXTENSIONS[alias],
        "namespace": _NAMESPACE,
        "updated": _UPDATED,
        "links": [],
    }


def index(_ctx: Context) -> dict[str, Any]:
    """List extensions."""
    return {"extensions": [_view(alias) for alias in _EXTENSIONS]}


def show(_ctx: Context, alias: str) -> dict[str, Any]:
    """Show an extension."""
    if alias not in _EXTENSIONS:
        raise NotFound("The resource could not be found.")
    return {"extension": _view(alias)}


ROUTES = (
    Route(method="GET", path="/v2.1/extensions", handler=index, policy="os_compute_api:extensions"),
    Route(
        method="GET",
        path="/v2.1/extensions/{alias}",
        handler=show,
        policy="os_compute_api:extensions",
    ),
)
