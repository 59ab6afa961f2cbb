"""Security groups and their rules as clients see them."""

import ipaddress
from collections.abc import Iterable
from typing import Any

from node.plugins.network.tables import SecurityGroup, SecurityGroupRule
from node.sdk import iso_utc


def view(
    group: SecurityGroup, rules: Iterable[SecurityGroupRule], *, shared: bool
) -> dict[str, Any]:
    """Return the JSON object of a security group with its rules."""
    return {
        "id": group.id,
        "name": group.name,
        "stateful": group.stateful,
        "tenant_id": group.project_id,
        "project_id": group.project_id,
        "description": group.description,
        "shared": shared,
        "security_group_rules": [
            rule_view(rule, default=group.default_of is not None) for rule in rules
        ],
        "tags": group.tags,
        "created_at": iso_utc(group.created_at),
        "updated_at": iso_utc(group.updated_at),
        "revision_number": group.revision,
    }


def rule_view(rule: SecurityGroupRule, *, default: bool) -> dict[str, Any]:
    """Return the JSON object of a rule; `default`: it belongs to the project's `default` group."""
    prefix = rule.remote_ip_prefix
    return {
        "id": rule.id,
        "tenant_id": rule.project_id,
        "project_id": rule.project_id,
        "security_group_id": rule.security_group_id,
        "ethertype": rule.ethertype,
        "direction": rule.direction,
        "protocol": rule.protocol or None,
        "port_range_min": rule.port_min,
        "port_range_max": rule.port_max,
        "remote_ip_prefix": rule.given_prefix or prefix or None,
        "remote_group_id": rule.remote_group_id or None,
        "normalized_cidr": str(ipaddress.ip_network(prefix, strict=False)) if prefix else None,
        "belongs_to_default_sg": default,
        "description": rule.description,
        "created_at": iso_utc(rule.created_at),
        "updated_at": iso_utc(rule.updated_at),
        "revision_number": rule.revision,
    }
