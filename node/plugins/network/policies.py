"""Policies of the network service, by Neutron's names and defaults (secure RBAC).

Targets hold the row's `project_id`; those of subnets and ports also `network:project_id`, `network:shared` and
(ports) `network_device`, the last two as "True" or "False", in place of Neutron's `field:` checks.

Source: https://docs.openstack.org/neutron/latest/configuration/policy.html
"""

_ADMIN = "rule:neutron_admin"
_MEMBER = "rule:neutron_admin or rule:neutron_member"
_READER = "rule:neutron_admin or rule:neutron_reader"
_SERVICE = "role:service"
_NET_OWNER = "rule:neutron_network_owner"
_NET_READER = "rule:neutron_network_reader"
_PORT_OWNER = f"rule:neutron_admin or {_SERVICE} or {_NET_OWNER}"

RULES = {
    "neutron_admin": "role:admin",
    "neutron_member": "role:member and project_id:%(project_id)s",
    "neutron_reader": "role:reader and project_id:%(project_id)s",
    "neutron_network_owner": "role:member and project_id:%(network:project_id)s",
    "neutron_network_reader": "role:reader and project_id:%(network:project_id)s",
    "neutron_network_shared": "'True':%(network:shared)s",
    "neutron_network_device": "'True':%(network_device)s",
}

_CRUD = {
    "network": (_MEMBER, _READER),
    "subnet": (f"{_MEMBER} or {_NET_OWNER}", f"{_READER} or {_NET_READER}"),
    "port": (
        f"{_MEMBER} or {_SERVICE} or {_NET_OWNER}",
        f"{_READER} or {_SERVICE} or {_NET_READER}",
    ),
    "router": (_MEMBER, _READER),
    "floatingip": (_MEMBER, _READER),
    "security_group": (_MEMBER, _READER),
    "security_group_rule": (_MEMBER, _READER),
    "subnetpool": (_MEMBER, _READER),
    "address_scope": (_MEMBER, _READER),
    "rbac_policy": (_MEMBER, _READER),
}

_PROVIDER = ("provider:network_type", "provider:physical_network", "provider:segmentation_id")
_BINDING = ("binding:host_id", "binding:vif_type", "binding:vif_details", "binding:profile")


def _crud() -> dict[str, str]:
    rules: dict[str, str] = {}
    for name, (write, read) in _CRUD.items():
        rules[f"create_{name}"] = write
        rules[f"get_{name}"] = read
        rules[f"update_{name}"] = write
        rules[f"delete_{name}"] = write
    return rules


POLICIES: dict[str, str] = {
    **_crud(),
    "get_auto_allocated_topology": _READER,
    "delete_auto_allocated_topology": _MEMBER,
    "create_subnet": f"rule:neutron_admin or {_NET_OWNER}",
    "update_port": f"{_MEMBER} or {_SERVICE}",
    # networks
    **{
        f"create_network:{name}": _ADMIN
        for name in ("shared", "router:external", "is_default", *_PROVIDER)
    },
    **{
        f"update_network:{name}": _ADMIN
        for name in ("shared", "router:external", "is_default", *_PROVIDER)
    },
    **{f"get_network:{name}": _ADMIN for name in _PROVIDER},
    # ports
    "create_port:device_owner": f"not rule:neutron_network_device or {_PORT_OWNER}",
    "create_port:mac_address": _PORT_OWNER,
    "create_port:fixed_ips": f"{_PORT_OWNER} or rule:neutron_network_shared",
    "create_port:fixed_ips:ip_address": _PORT_OWNER,
    "create_port:port_security_enabled": _PORT_OWNER,
    "create_port:allowed_address_pairs": f"rule:neutron_admin or {_NET_OWNER}",
    "create_port:binding:host_id": f"{_ADMIN} or {_SERVICE}",
    "create_port:binding:profile": f"{_ADMIN} or {_SERVICE}",
    "update_port:device_owner": f"not rule:neutron_network_device or {_PORT_OWNER}",
    "update_port:mac_address": f"{_ADMIN} or {_SERVICE}",
    "update_port:fixed_ips": f"{_PORT_OWNER} or rule:neutron_network_shared",
    "update_port:fixed_ips:ip_address": _PORT_OWNER,
    "update_port:port_security_enabled": _PORT_OWNER,
    "update_port:allowed_address_pairs": f"rule:neutron_admin or {_NET_OWNER}",
    "update_port:binding:host_id": f"{_ADMIN} or {_SERVICE}",
    "update_port:binding:profile": f"{_ADMIN} or {_SERVICE}",
    **{f"get_port:{name}": f"{_ADMIN} or {_SERVICE}" for name in _BINDING},
    # routers
    "create_router:external_gateway_info:enable_snat": _ADMIN,
    "create_router:external_gateway_info:external_fixed_ips": _ADMIN,
    "update_router:external_gateway_info:enable_snat": _ADMIN,
    "update_router:external_gateway_info:external_fixed_ips": _ADMIN,
    "create_router:distributed": _ADMIN,
    "create_router:ha": _ADMIN,
    "update_router:distributed": _ADMIN,
    "update_router:ha": _ADMIN,
    "get_router:distributed": _ADMIN,
    "get_router:ha": _ADMIN,
    "add_router_interface": _MEMBER,
    "remove_router_interface": _MEMBER,
    "add_extraroutes": _MEMBER,
    "remove_extraroutes": _MEMBER,
    # floating IPs
    "create_floatingip:floating_ip_address": _ADMIN,
    # pools, scopes, offers
    "create_subnetpool:shared": _ADMIN,
    "create_subnetpool:is_default": _ADMIN,
    "update_subnetpool:is_default": _ADMIN,
    "create_address_scope:shared": _ADMIN,
    "update_address_scope:shared": _ADMIN,
    "create_rbac_policy:target_tenant": f"{_ADMIN} or not '*':%(target_tenant)s",
    "update_rbac_policy:target_tenant": f"{_ADMIN} or not '*':%(target_tenant)s",
    # the rest
    "get_quota": "rule:neutron_admin or role:reader",
    "update_quota": _ADMIN,
    "delete_quota": _ADMIN,
    "get_agent": _ADMIN,
    "get_availability_zone": "rule:neutron_admin or role:reader",
    "get_service_provider": "rule:neutron_admin or role:reader",
    "get_network_ip_availability": _ADMIN,
}
