"""Decisions about security groups: the default group, what a rule may say, when two rules are the same.

Source: https://docs.openstack.org/api-ref/network/v2/#security-group-rules-security-group-rules
"""

import ipaddress
from typing import Any

from msgspec.structs import replace

from node.plugins.network import converters as to
from node.plugins.network import quota_rules
from node.plugins.network.attributes import ABSENT, REQUIRED, Attribute, Kind, Wish, standard
from node.plugins.network.faults import bad
from node.plugins.network.protocols import PROTOCOLS
from node.plugins.network.revise import in_use_counter, stamps
from node.plugins.network.tables import SecurityGroup, SecurityGroupRule
from node.sdk import AnyOp, Context, Count, delete, insert

DEFAULT_NAME = "default"

KIND = Kind(
    name="security_group",
    plural="security_groups",
    attributes=standard(
        Attribute(name="stateful", convert=to.boolean, default=True),
        Attribute(name="security_group_rules", post=False, put=False, default=ABSENT),
        Attribute(name="shared", post=False, put=False, default=ABSENT),
    ),
)

_ICMP = frozenset({1, 58})
_WITH_PORTS = frozenset({6, 17, 33, 132, 136})
_ONLY_V6 = frozenset({41, 43, 44, 58, 59, 60})


def protocol(value: Any) -> str:
    """Take a protocol's name or number, or null for any."""
    if value is None:
        return ""
    name = str(value).lower()
    if isinstance(value, bool) or not (name in PROTOCOLS or name == "any" or _is_number(name)):
        known = ", ".join(str(item) for item in (None, *PROTOCOLS))
        raise bad(
            "SecurityGroupRuleInvalidProtocol",
            f"Security group rule protocol {value} not supported. Only protocol values [{known}] and integer "
            "representations [0 to 255] are supported.",
        )
    return "" if name == "any" else name


def port_value(value: Any) -> int | None:
    """Take a port, an ICMP type or code, or null for any."""
    try:
        number: int | None = to.integer(-1, 65535, null=True)(value)
    except ValueError:
        raise bad("SecurityGroupInvalidPortValue", f"Invalid value for port {value}") from None
    return number


def ethertype(value: Any) -> str:
    """Take IPv4 or IPv6 in any case."""
    known = {"ipv4": "IPv4", "ipv6": "IPv6"}
    found = known.get(str(value).lower()) if value is not None else "IPv4"
    if found is None:
        raise bad(
            "SecurityGroupRuleInvalidEtherType",
            f"Security group rule for ethertype '{value}' not supported. Allowed values are ['IPv4', 'IPv6'].",
        )
    return found


RULE_KIND = Kind(
    name="security_group_rule",
    plural="security_group_rules",
    attributes=(
        *(a for a in standard() if a.name not in ("name", "tags", "status")),
        Attribute(name="security_group_id", convert=to.uuid, put=False, default=REQUIRED),
        Attribute(
            name="direction", convert=to.one_of(("ingress", "egress")), put=False, default=REQUIRED
        ),
        Attribute(name="ethertype", convert=ethertype, put=False, default="IPv4"),
        Attribute(name="protocol", convert=protocol, put=False, default=""),
        Attribute(name="port_range_min", convert=port_value, put=False),
        Attribute(name="port_range_max", convert=port_value, put=False),
        Attribute(name="remote_group_id", convert=to.text(255, null=True), put=False, default=""),
        Attribute(
            name="remote_ip_prefix",
            convert=lambda v: "" if v is None else to.prefix_as_given(v),
            put=False,
            default="",
        ),
        Attribute(name="normalized_cidr", post=False, put=False, default=ABSENT),
        Attribute(name="belongs_to_default_sg", post=False, put=False, default=ABSENT),
    ),
)


def check_rule(wish: Wish) -> None:
    """Refuse a rule that contradicts itself.

    Raises:
        BadRequest: 400 with Neutron's class for each contradiction.
    """
    low, high = wish["port_range_min"], wish["port_range_max"]
    number = protocol_number(wish["protocol"])
    if wish["remote_group_id"] and wish["remote_ip_prefix"]:
        raise bad(
            "SecurityGroupMultipleRemoteEntites",
            "Only remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
        )
    if wish["remote_ip_prefix"]:
        version = ipaddress.ip_network(wish["remote_ip_prefix"], strict=False).version
        if wish["ethertype"] != f"IPv{version}":
            raise bad(
                "SecurityGroupRuleParameterConflict",
                f"Conflicting value ethertype {wish['ethertype']} for CIDR {wish['remote_ip_prefix']}",
            )
    if number in _ONLY_V6 and wish["ethertype"] == "IPv4":
        raise bad(
            "SecurityGroupEthertypeConflictWithProtocol",
            f"Invalid ethertype {wish['ethertype']} for protocol {wish['protocol']}.",
        )
    if low is None and high is None:
        return
    if number is None:
        raise bad(
            "SecurityGroupProtocolRequiredWithPorts",
            "Must also specify protocol if port range is given.",
        )
    _check_range(wish["protocol"], number, low, high)


def _check_range(name: str, number: int, low: int | None, high: int | None) -> None:
    if number in _ICMP:
        for attr, field, value in (
            ("port_range_min", "type", low),
            ("port_range_max", "code", high),
        ):
            if value is not None and not 0 <= value <= 255:
                raise bad(
                    "SecurityGroupInvalidIcmpValue",
                    f"Invalid value for ICMP {field} ({attr}) {value}. It must be 0 to 255.",
                )
        if low is None:
            raise bad(
                "SecurityGroupMissingIcmpType",
                f"ICMP code (port-range-max) {high} is provided but ICMP type (port-range-min) is missing.",
            )
        return
    if number not in _WITH_PORTS:
        raise bad(
            "SecurityGroupInvalidProtocolForPort",
            f"Invalid protocol {name} for port range, only supported for TCP, UDP, UDPLITE, SCTP and DCCP.",
        )
    for value in (low, high):
        if value is not None and not 1 <= value <= 65535:
            raise bad("SecurityGroupInvalidPortValue", f"Invalid value for port {value}")
    if low is None or high is None or low > high:
        raise bad(
            "SecurityGroupInvalidPortRange",
            "For TCP/UDP protocols, port_range_min must be <= port_range_max",
        )


def protocol_number(name: str) -> int | None:
    """Return the number of a stored protocol; None: any."""
    if not name:
        return None
    return int(name) if name.isdigit() else PROTOCOLS[name]


def signature(rule: SecurityGroupRule) -> str:
    """Return what makes two rules of a group the same rule."""
    anywhere = rule.remote_ip_prefix in ("0.0.0.0/0", "::/0")
    parts = (
        rule.direction,
        rule.ethertype,
        protocol_number(rule.protocol),
        rule.port_min,
        rule.port_max,
        rule.remote_group_id,
        "" if anywhere else rule.remote_ip_prefix,
    )
    return "|".join("" if part is None else str(part) for part in parts)


def rule_ops(ctx: Context, rule: SecurityGroupRule, *, limited: bool = True) -> list[AnyOp]:
    """Return the operations that store a new rule; those of a `default` group count without being limited."""
    taken = quota_rules.take(ctx.db, rule.project_id, "security_group_rule")
    return [
        taken if limited else Count(taken.counter, 1),
        Count(rules_counter(rule.security_group_id), 1),
        insert(rule),
    ]


def rules_counter(group_id: str) -> str:
    """Return the counter of a group's rules, so that its deletion cannot miss one."""
    return in_use_counter(SecurityGroupRule, group_id)


def remove_rule_ops(rule: SecurityGroupRule) -> list[AnyOp]:
    """Return the operations that remove a rule."""
    counted = rules_counter(rule.security_group_id)
    back = quota_rules.give_back(rule.project_id, "security_group_rule")
    return [delete(SecurityGroupRule, rule.id, must_exist=True), Count(counted, -1), back]


def new_group_ops(ctx: Context, group: SecurityGroup) -> list[AnyOp]:
    """Return the operations that store a new group with the rules that each group begins with."""
    ops: list[AnyOp] = [insert(group)]
    if group.default_of is None:
        ops.append(quota_rules.take(ctx.db, group.project_id, "security_group"))
    for rule in first_rules(ctx, group):
        ops += rule_ops(ctx, rule, limited=group.default_of is None)
    return ops


def first_rules(ctx: Context, group: SecurityGroup) -> list[SecurityGroupRule]:
    """Return the rules a group begins with: all may go out; into `default` come its own members."""
    found = []
    for family in ("IPv4", "IPv6"):
        sources = [("egress", "")] + (
            [("ingress", group.id)] if group.default_of is not None else []
        )
        for direction, remote in sources:
            rule = SecurityGroupRule(
                id=ctx.ids.uuid(),
                project_id=group.project_id,
                security_group_id=group.id,
                direction=direction,
                ethertype=family,
                remote_group_id=remote,
                created_at=group.created_at,
                updated_at=group.updated_at,
            )
            found.append(signed(rule))
    return found


def signed(rule: SecurityGroupRule) -> SecurityGroupRule:
    """Return the rule with its signature filled in."""
    return replace(rule, signature=signature(rule))


def default_group_ops(ctx: Context, project_id: str) -> tuple[list[AnyOp], SecurityGroup]:
    """Return the `default` group of a project and the operations that make it where it is missing."""
    found = ctx.db.one(SecurityGroup, default_of=project_id)
    if found is not None:
        return [], found
    group = SecurityGroup(
        id=ctx.ids.uuid(),
        name=DEFAULT_NAME,
        description="Default security group",
        project_id=project_id,
        default_of=project_id,
        **stamps(ctx),
    )
    return new_group_ops(ctx, group), group


def ensure_default(ctx: Context, project_id: str) -> None:
    """Make the project's `default` group unless it is there; who comes second finds the first one's."""
    if not project_id:
        return
    ops, _group = default_group_ops(ctx, project_id)
    if not ops:
        return
    ctx.commit(ops)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255
