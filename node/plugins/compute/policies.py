"""Who may do what in compute: Nova's default policies.

Source: https://docs.openstack.org/nova/latest/configuration/policy.html
"""

from collections.abc import Mapping
from types import MappingProxyType

RULES: Mapping[str, str] = MappingProxyType(
    {
        "compute:admin": "role:admin",
        "compute:member": "role:member and project_id:%(project_id)s",
        "compute:reader": "role:reader and project_id:%(project_id)s",
        "compute:member_or_admin": "rule:compute:member or rule:compute:admin",
        "compute:reader_or_admin": "rule:compute:reader or rule:compute:admin",
    }
)

_ADMIN = "rule:compute:admin"
_MEMBER = "rule:compute:member_or_admin"
_READER = "rule:compute:reader_or_admin"

_ADMINS = (
    "os-flavor-manage:create",
    "os-flavor-manage:update",
    "os-flavor-manage:delete",
    "os-flavor-access",
    "os-flavor-access:add_tenant_access",
    "os-flavor-access:remove_tenant_access",
    "os-flavor-extra-specs:create",
    "os-flavor-extra-specs:update",
    "os-flavor-extra-specs:delete",
    "servers:index:get_all_tenants",
    "servers:detail:get_all_tenants",
    "servers:allow_all_filters",
    "servers:show:host_status",
    "servers:create:forced_host",
    "servers:create:requested_destination",
    "servers:create:zero_disk_flavor",
    "os-extended-server-attributes",
    "os-admin-actions:reset_state",
    "os-lock-server:unlock:unlock_override",
    "os-availability-zone:detail",
    "os-hypervisors:list",
    "os-hypervisors:list-detail",
    "os-hypervisors:show",
    "os-hypervisors:statistics",
    "os-hypervisors:uptime",
    "os-hypervisors:search",
    "os-hypervisors:servers",
    "os-services:list",
    "os-services:update",
    "os-services:delete",
    "os-hosts:list",
    "os-hosts:show",
    "os-quota-sets:update",
    "os-quota-sets:delete",
    "os-quota-class-sets:show",
    "os-quota-class-sets:update",
    "os-simple-tenant-usage:list",
    "os-server-groups:index:all_projects",
    "os-instance-actions:events:details",
    "limits:other_project",
)
_MEMBERS = (
    "servers:create",
    "servers:create:attach_network",
    "servers:create:attach_volume",
    "servers:update",
    "servers:delete",
    "servers:reboot",
    "servers:start",
    "servers:stop",
    "servers:rebuild",
    "server-metadata:create",
    "server-metadata:update",
    "server-metadata:update_all",
    "server-metadata:delete",
    "os-server-tags:update",
    "os-server-tags:update_all",
    "os-server-tags:delete",
    "os-server-tags:delete_all",
    "os-lock-server:lock",
    "os-lock-server:unlock",
    "os-deferred-delete:force",
    "os-console-output",
    "os-security-groups:add",
    "os-security-groups:remove",
    "os-server-groups:create",
    "os-server-groups:delete",
    "os-admin-password",
    "os-attach-interfaces:create",
    "os-attach-interfaces:delete",
    "os-multinic",
    "os-server-password:clear",
    "os-pause-server:pause",
    "os-pause-server:unpause",
    "os-suspend-server:suspend",
    "os-suspend-server:resume",
)
_READERS = (
    "servers:index",
    "servers:detail",
    "servers:show",
    "server-metadata:index",
    "server-metadata:show",
    "os-server-tags:index",
    "os-server-tags:show",
    "ips:index",
    "ips:show",
    "os-attach-interfaces:list",
    "os-attach-interfaces:show",
    "os-security-groups:list",
    "os-instance-actions:list",
    "os-instance-actions:show",
    "os-instance-actions:events",
    "os-server-groups:index",
    "os-server-groups:show",
    "os-quota-sets:show",
    "os-quota-sets:detail",
    "os-simple-tenant-usage:show",
    "os-flavor-extra-specs:index",
    "os-flavor-extra-specs:show",
    "os-server-password:show",
    "os-volumes-attachments:index",
)
_OWN_KEYS = "role:admin or user_id:%(user_id)s"

POLICIES: Mapping[str, str] = MappingProxyType(
    {
        **{f"os_compute_api:{name}": _ADMIN for name in _ADMINS},
        **{f"os_compute_api:{name}": _MEMBER for name in _MEMBERS},
        **{f"os_compute_api:{name}": _READER for name in _READERS},
        "os_compute_api:os-keypairs:index": _OWN_KEYS,
        "os_compute_api:os-keypairs:show": _OWN_KEYS,
        "os_compute_api:os-keypairs:create": _OWN_KEYS,
        "os_compute_api:os-keypairs:delete": _OWN_KEYS,
        "os_compute_api:os-quota-sets:defaults": "@",
        "os_compute_api:os-availability-zone:list": "@",
        "os_compute_api:limits": "@",
        "os_compute_api:os-security-groups:proxy": "@",
        "os_compute_api:os-floating-ips:proxy": "@",
        "os_compute_api:extensions": "@",
    }
)
