"""What a port's body may hold, and the policy questions that its attributes raise."""

from collections.abc import Mapping
from typing import Any

from node.plugins.network import converters as to
from node.plugins.network.attributes import (
    ABSENT,
    REQUIRED,
    Attribute,
    Kind,
    Wish,
    check_attributes,
    disallowed_attribute,
    standard,
)
from node.plugins.network.converters import WishedAddress
from node.sdk import Context

VNIC_TYPES = ("normal",)

KIND = Kind(
    name="port",
    plural="ports",
    attributes=standard(
        Attribute(name="network_id", convert=to.uuid, put=False, default=REQUIRED),
        Attribute(name="mac_address", convert=to.mac_address, default=""),
        Attribute(name="admin_state_up", convert=to.boolean, default=True),
        Attribute(
            name="fixed_ips", convert=lambda v: None if v is None else to.fixed_ips(v), default=None
        ),
        Attribute(name="device_id", convert=to.text(255, null=True), default=""),
        Attribute(name="device_owner", convert=to.text(255, null=True), default=""),
        Attribute(name="security_groups", convert=to.items(to.uuid), default=None),
        Attribute(name="port_security_enabled", convert=to.boolean, default=ABSENT),
        Attribute(name="allowed_address_pairs", convert=to.address_pairs, default=()),
        Attribute(name="extra_dhcp_opts", convert=to.dhcp_options, default=()),
        Attribute(name="binding:host_id", convert=to.text(255, null=True), default=""),
        Attribute(
            name="binding:vnic_type", convert=to.one_of(VNIC_TYPES, null=True), default="normal"
        ),
        Attribute(name="binding:profile", convert=to.mapping, default=ABSENT),
        Attribute(name="binding:vif_type", post=False, put=False, default=ABSENT),
        Attribute(name="binding:vif_details", post=False, put=False, default=ABSENT),
        Attribute(name="dns_name", convert=to.dns_name, default=""),
        Attribute(name="dns_domain", convert=to.dns_domain, default=""),
        Attribute(name="dns_assignment", post=False, put=False, default=ABSENT),
        Attribute(name="ip_allocation", post=False, put=False, default=ABSENT),
    ),
)

FIELDS = {
    "name": "name",
    "description": "description",
    "admin_state_up": "admin_up",
    "device_id": "device_id",
    "device_owner": "device_owner",
    "binding:host_id": "binding_host",
    "binding:vnic_type": "vnic_type",
    "binding:profile": "binding_profile",
    "dns_name": "dns_name",
    "dns_domain": "dns_domain",
}


def check_policies(ctx: Context, action: str, wish: Wish, target: Mapping[str, Any]) -> None:
    """Refuse attributes that the caller may not set; an own address more strictly than an own subnet.

    Raises:
        PolicyNotAuthorized: 403.
    """
    network_device = str(wish.get("device_owner") or "").startswith("network:")
    asked = {**target, "network_device": str(network_device)}
    check_attributes(ctx, action, wish.given, asked)
    wishes: tuple[WishedAddress, ...] = wish.get("fixed_ips") or ()
    rule = f"{action}:fixed_ips:ip_address"
    if any(w.ip_address for w in wishes) and not ctx.allows(rule, asked):
        raise disallowed_attribute(action, rule)
