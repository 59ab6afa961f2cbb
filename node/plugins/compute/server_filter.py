"""Filters of server lists: which the caller may use, and what each of them keeps.

Source: https://docs.openstack.org/api-ref/compute/#list-servers
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from node.plugins.compute import listing, server_rules
from node.plugins.compute.aggregate_rules import zoned
from node.plugins.compute.faults import field_error
from node.plugins.compute.placement_rules import zone_of
from node.plugins.compute.tables import Server, ServerGone
from node.sdk import BadRequest, Context, Forbidden, PortState, parse_iso

Ports = Mapping[str, Sequence[PortState]]
Keep = Callable[[Server], bool]

_FOR_ALL = {
    "reservation_id": (2, 1),
    "name": (2, 1),
    "status": (2, 1),
    "image": (2, 1),
    "flavor": (2, 1),
    "ip": (2, 1),
    "changes-since": (2, 1),
    "ip6": (2, 5),
    "tags": (2, 26),
    "tags-any": (2, 26),
    "not-tags": (2, 26),
    "not-tags-any": (2, 26),
    "changes-before": (2, 66),
    "locked": (2, 73),
    "availability_zone": (2, 83),
    "config_drive": (2, 83),
    "key_name": (2, 83),
    "created_at": (2, 83),
    "launched_at": (2, 83),
    "terminated_at": (2, 83),
    "power_state": (2, 83),
    "task_state": (2, 83),
    "vm_state": (2, 83),
    "progress": (2, 83),
    "user_id": (2, 83),
}
_PLAIN: Mapping[str, Callable[[Server], str]] = {
    "image": lambda s: s.image_id,
    "image_ref": lambda s: s.image_id,
    "reservation_id": lambda s: s.reservation_id,
    "uuid": lambda s: s.id,
    "user_id": lambda s: s.user_id,
    "project_id": lambda s: s.project_id,
    "tenant_id": lambda s: s.project_id,
    "vm_state": server_rules.vm_state,
    "task_state": lambda s: server_rules.task_state(s) or "",
    "power_state": lambda s: str(server_rules.power_state(s)),
    "key_name": lambda s: s.key_name,
    "hostname": lambda s: s.hostname,
    "launch_index": lambda s: str(s.launch_index),
    "progress": lambda s: str(s.progress),
    "root_device_name": lambda s: s.root_device,
    "access_ip_v4": lambda s: s.access_ipv4,
    "access_ip_v6": lambda s: s.access_ipv6,
    "locked_by": lambda s: s.locked_by,
}
_PATTERNS: Mapping[str, Callable[[Server], str]] = {
    "name": lambda s: s.name,
    "display_name": lambda s: s.name,
    "description": lambda s: s.description or "",
    "display_description": lambda s: s.description or "",
}
_BOOLEANS: Mapping[str, Callable[[Server], bool]] = {
    "locked": lambda s: s.locked,
    "config_drive": lambda s: s.config_drive,
}
_TAGS: Mapping[str, Callable[[set[str], set[str]], bool]] = {
    "tags": lambda wanted, has: wanted <= has,
    "tags-any": lambda wanted, has: bool(wanted & has),
    "not-tags": lambda wanted, has: not wanted <= has,
    "not-tags-any": lambda wanted, has: not wanted & has,
}


_QUERY = (
    "limit", "marker", "sort_key", "sort_dir", "all_tenants", "deleted", "host", "node", "ip", "ip6", "status",
    "flavor", "instance_type_id", "availability_zone", "changes-since", "changes-before", "created_at",
    "launched_at", "terminated_at", "updated_at", "kernel_id", "ramdisk_id", "soft_deleted", "vcpus", "memory_mb",
    "host_status", "compute_node", *_PLAIN, *_PATTERNS, *_BOOLEANS, *_TAGS,
)  # fmt: skip


class Filters:
    """The filters of one request."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        listing.check_query(ctx, *_QUERY)
        everything = ctx.allows(
            "os_compute_api:servers:allow_all_filters", {"project_id": ctx.project_id}
        )
        self.params = {
            name: values
            for name, values in ctx.params.items()
            if values and (everything or ctx.microversion >= _FOR_ALL.get(name, (99, 0)))
        }

    def value(self, name: str) -> str | None:
        """Return a filter's value, or None when it is not given or not allowed."""
        values = self.params.get(name)
        return values[0] if values else None

    @property
    def wants_gone(self) -> bool | None:
        """Return whether deleted servers are asked for: True only those, None as well as the others.

        Raises:
            Forbidden: 403, deleted servers are for administrators.
        """
        if any(
            status.upper() in {"DELETED", "SOFT_DELETED"}
            for status in self.params.get("status", [])
        ):
            if not self._ctx.token.is_admin:
                raise Forbidden("Only administrators may list deleted instances")
            return True
        if "deleted" in self.params:
            wanted = listing.boolean(self.value("deleted"))
            if wanted is None:
                raise BadRequest(f"Invalid filter deleted: {self.value('deleted')}")
            return wanted
        return None if self.value("changes-since") or self.value("changes-before") else False

    def keeps(self) -> list[Keep]:
        """Return the tests that need the row only.

        Raises:
            BadRequest: 400, a value that makes no sense.
        """
        tests: list[Keep] = []
        for name, values in self.params.items():
            tests += self._tests(name, values)
        return tests

    def _tests(self, name: str, values: list[str]) -> list[Keep]:
        value = values[0]
        if name == "status":
            return [self._status(values)]
        if name in {"flavor", "instance_type_id"}:
            return [lambda s: s.flavor is not None and s.flavor.id == value]
        if name in _PLAIN:
            plain = _PLAIN[name]
            return [lambda s: plain(s) in values]
        if name in _PATTERNS:
            text, pattern = _PATTERNS[name], _regex(name, value)
            return [lambda s: bool(pattern.search(text(s)))]
        if name in _BOOLEANS:
            has, wanted = _BOOLEANS[name], listing.boolean(value)
            if wanted is None:
                raise BadRequest(f"Invalid filter {name}: {value} is not a boolean")
            return [lambda s: has(s) is wanted]
        if name in _TAGS:
            test, asked = _TAGS[name], set(value.split(","))
            return [lambda s: test(asked, set(s.tags))]
        return self._placed(name, value) or _timed(name, value)

    def _placed(self, name: str, value: str) -> list[Keep]:
        """Return the tests on the node."""
        nodes = zoned(self._ctx.db) if name in {"host", "node", "availability_zone"} else []
        if name in {"host", "node"}:
            ids = {node.id for node in nodes if node.name == value}
            return [lambda s: s.node_id in ids]
        if name == "availability_zone":
            zones = {node.id: zone_of(node) for node in nodes}
            return [lambda s: zones.get(s.node_id, s.requested_zone) == value]
        return []

    def _status(self, values: list[str]) -> Keep:
        known = [value for value in values if server_rules.states_of_status(value)]
        if not known and self._ctx.microversion >= (2, 38):
            raise BadRequest("Invalid status value")
        wanted = {value.upper() for value in known}
        return lambda s: server_rules.status(s) in wanted

    def keeps_ports(self) -> list[Callable[[Server, Ports], bool]]:
        """Return the tests that need the addresses of a server."""
        tests: list[Callable[[Server, Ports], bool]] = []
        for name, version in (("ip", 4), ("ip6", 6)):
            value = self.value(name)
            if value is not None:
                tests.append(_address_test(_regex(name, value), version))
        return tests


def _address_test(pattern: re.Pattern[str], version: int) -> Callable[[Server, Ports], bool]:
    def test(server: Server, ports: Ports) -> bool:
        return any(
            ip.version == version and pattern.search(ip.address)
            for port in ports.get(server.id, ())
            for ip in port.fixed_ips
        )

    return test


def _regex(name: str, value: str) -> re.Pattern[str]:
    try:
        return re.compile(value[:1024], re.IGNORECASE)
    except (re.error, RecursionError, OverflowError):
        raise field_error(name, value, f"'{value}' is not a 'regex'") from None


def _timed(name: str, value: str) -> list[Keep]:
    """Return the tests on times."""
    if name not in {
        "changes-since",
        "changes-before",
        "created_at",
        "launched_at",
        "terminated_at",
    }:
        return []
    try:
        at_us = parse_iso(value)
    except (ValueError, OverflowError):
        raise field_error(name, value, f"'{value}' is not a 'date-time'") from None
    if name == "changes-since":
        return [lambda s: s.updated_at >= at_us]
    if name == "changes-before":
        return [lambda s: s.updated_at <= at_us]
    if name == "terminated_at":
        return [lambda s: isinstance(s, ServerGone) and s.deleted_at // 10**6 == at_us // 10**6]
    return [lambda s: int(getattr(s, name)) // 10**6 == at_us // 10**6]


def sorted_servers(ctx: Context, rows: list[Any]) -> list[Any]:
    """Return servers in the order that was asked for, newest first without one.

    Raises:
        BadRequest: 400, no field that servers are sorted by.
    """
    keys, directions = ctx.params.get("sort_key", []), ctx.params.get("sort_dir", [])
    for direction in directions:
        if direction not in {"asc", "desc"}:
            raise field_error("sort_dir", direction, f"'{direction}' is not one of ['asc', 'desc']")
    rows = sorted(rows, key=lambda s: (s.created_at, s.id), reverse=True)
    for index, key in reversed(list(enumerate(keys))):
        value = _SORT.get(key)
        if value is None:
            raise field_error("sort_key", key, f"'{key}' is no field that servers are sorted by")
        direction = directions[index] if index < len(directions) else "desc"
        rows.sort(key=value, reverse=direction == "desc")
    return rows


_SORT: Mapping[str, Callable[[Server], Any]] = {
    **_PLAIN,
    **_PATTERNS,
    **_BOOLEANS,
    "availability_zone": lambda s: s.requested_zone,
    "created_at": lambda s: s.created_at,
    "updated_at": lambda s: s.updated_at,
    "launched_at": lambda s: s.launched_at,
    "terminated_at": lambda s: getattr(s, "deleted_at", 0),
    "deleted_at": lambda s: getattr(s, "deleted_at", 0),
    "host": lambda s: s.node_id,
    "node": lambda s: s.node_id,
    "instance_type_id": lambda s: s.flavor.id if s.flavor else "",
    "power_state": server_rules.power_state,
    "progress": lambda s: s.progress,
    "launch_index": lambda s: s.launch_index,
}
