"""Neutron's security groups in Nova's old form: ingress rules only, one protocol range each."""

from collections.abc import Mapping
from typing import Any

Group = Mapping[str, Any]


def group_view(group: Group, names: Mapping[str, Group]) -> dict[str, Any]:
    """Return a group; `names` are the groups that its rules may refer to, by id."""
    rules = [
        rule_view(rule, names)
        for rule in group["security_group_rules"]
        if rule["direction"] == "ingress"
    ]
    return {
        "id": group["id"],
        "name": group["name"],
        "description": group["description"] or "",
        "tenant_id": group["project_id"],
        "rules": rules,
    }


def rule_view(rule: Mapping[str, Any], names: Mapping[str, Group]) -> dict[str, Any]:
    """Return a rule."""
    low, high = _ports(rule)
    remote = rule["remote_group_id"]
    peer = names.get(remote) if remote else None
    cidr = rule["remote_ip_prefix"] or ("::/0" if rule["ethertype"] == "IPv6" else "0.0.0.0/0")
    return {
        "id": rule["id"],
        "parent_group_id": rule["security_group_id"],
        "ip_protocol": rule["protocol"],
        "from_port": low,
        "to_port": high,
        "group": {"name": peer["name"], "tenant_id": peer["project_id"]} if peer else {},
        "ip_range": {} if remote else {"cidr": cidr},
    }


def _ports(rule: Mapping[str, Any]) -> tuple[int | None, int | None]:
    low, high = rule["port_range_min"], rule["port_range_max"]
    if rule["protocol"] and low is None and high is None:
        return (1, 65535) if rule["protocol"].lower() in {"tcp", "udp"} else (-1, -1)
    return low, high
