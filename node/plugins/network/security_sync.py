"""Keeps security groups and anti-spoofing of this node's ports in force.

`Security` holds the two tables; `PortSync` asks it to guard a port before the port's tap may carry anything.
`SecuritySync` follows rules and memberships, and puts the tables back when somebody removed them.
"""

import logging
import threading
from collections.abc import Iterable

from node.plugins.network.drivers.namespaces import Namespaces
from node.plugins.network.drivers.nft import NftError, NftTable, flush_connections
from node.plugins.network.names import bridge_name
from node.plugins.network.nft_plan import Fragment
from node.plugins.network.security_plan import (
    POLICY_TABLE,
    TRACK_TABLE,
    closed,
    cut_filters,
    group_fragment,
    group_sets,
    port_fragment,
    remote_groups,
    zone_filters,
    zone_fragment,
)
from node.plugins.network.tables import (
    COMPUTE_PREFIX,
    Network,
    Port,
    SecurityGroup,
    SecurityGroupMember,
    SecurityGroupRule,
)
from node.sdk import Control, Done, Reader, Reconciler, Row

log = logging.getLogger("hedgerow.network")

_MAX_ZONE = 65535
_VERIFY = "tables"


def local_ports(db: Reader, node_id: str) -> list[Port]:
    """Return the ports that are plugged into servers of a node."""
    return [
        port
        for port in db.rows(Port, node_id=node_id)
        if port.device_owner.startswith(COMPUTE_PREFIX)
    ]


class Security:
    """The rules of this node's ports."""

    def __init__(self, control: Control, namespaces: Namespaces) -> None:
        self._control = control
        self._namespaces = namespaces
        self._policy = NftTable(POLICY_TABLE, namespaces)
        self._track = NftTable(TRACK_TABLE, namespaces)
        self._ports: dict[str, Port] = {}
        self._rule_groups: dict[str, str] = {}
        self._zones: dict[str, int] = {}
        """Zone by bridge name."""
        self._lock = threading.RLock()

    def load(self) -> None:
        """Load everything from the rows, in one step a table, where this process has not done so yet."""
        with self._lock:
            if self._policy.loaded and self._track.loaded:
                return
            db = self._control.db
            with db.snapshot():
                ports = local_ports(db, self._control.node_id)
                fragments: dict[str, Fragment] = {}
                for port in ports:
                    fragments.update(self._fragments_of(db, port, fragments))
                networks = {port.network_id: db.get(Network, port.network_id) for port in ports}
            if not self._zones:
                self._zones = self._zones_in_force()
            zones = {
                f"zone:{network.id}": zone_fragment(network.id, self._zone(network.id))
                for network in networks.values()
                if network is not None and not network.external
            }
            self._track.load(zones)
            self._load_policy(fragments)
            self._ports = {port.id: port for port in ports}

    def _load_policy(self, fragments: dict[str, Fragment]) -> None:
        """Load all rules at once; should nft refuse some port's, close that port and let the others be."""
        try:
            self._policy.load(fragments)
        except NftError:
            groups = {
                owner: part for owner, part in fragments.items() if owner.startswith("group:")
            }
            for owner, part in fragments.items():
                if owner not in groups and not self._policy.accepts([*groups.values(), part]):
                    log.exception("the rules of %s are refused, it is closed", owner)
                    fragments[owner] = closed(part)
            self._policy.load(fragments)

    def guard(self, port: Port) -> None:
        """Put a port's rules in force."""
        with self._lock:
            self.load()
            db = self._control.db
            network = db.get(Network, port.network_id)
            if network is not None and not network.external:
                self._track.apply(
                    {f"zone:{network.id}": zone_fragment(network.id, self._zone(network.id))}
                )
            fragments = self._fragments_of(db, port, self._policy.owners())
            before, old_port = self._policy.fragment(f"port:{port.id}"), self._ports.get(port.id)
            self._policy.apply(fragments)
            self._ports[port.id] = port
            if before is not None and _took_away(before, fragments[f"port:{port.id}"]):
                self._cut(old_port or port)
            elif old_port is not None and set(old_port.fixed_ips) - set(port.fixed_ips):
                self._cut(old_port)

    def release(self, port_id: str) -> None:
        """Forget a port that is not here any more, its connections too."""
        with self._lock:
            self.load()
            port = self._ports.pop(port_id, None)
            if self._policy.fragment(f"port:{port_id}") is not None:
                self._policy.apply({f"port:{port_id}": None})
            if port is None:
                return
            if any(other.network_id == port.network_id for other in self._ports.values()):
                self._cut(port)
                return
            self._track.apply({f"zone:{port.network_id}": None})
            zone = self._zones.pop(bridge_name(port.network_id), 0)
            if zone:  # the next network that gets it must not inherit connections
                flush_connections(self._namespaces, "", zone_filters(zone))

    def follow_group(self, group_id: str) -> None:
        """Bring a remote group's members up to date; drop its sets when no rule here refers to it any more."""
        owner = f"group:{group_id}"
        with self._lock:
            self.load()
            before = self._policy.fragment(owner)
            if before is None:
                return
            users = self._users_of(group_id)
            if not users:
                self._policy.apply({owner: None})
                return
            members = self._control.db.rows(SecurityGroupMember, security_group_id=group_id)
            after = group_fragment(group_id, members)
            self._policy.apply({owner: after})
            gone = {
                element
                for name, old in before.sets.items()
                if "interval" not in old.spec
                for element in old.elements - after.sets[name].elements
            }
            for port in users if gone else ():
                remotes = {fixed.ip_address: sorted(gone) for fixed in port.fixed_ips}
                self._cut(port, remotes)

    def refresh_port(self, port_id: str) -> None:
        """Put changed rules in force for a port that is guarded already."""
        with self._lock:
            if port_id in self._ports:
                port = self._control.db.get(Port, port_id)
                if port is not None and port.node_id == self._control.node_id:
                    self.guard(port)

    def verify(self) -> None:
        """Put back what somebody removed, and drop the sets of groups that nothing refers to."""
        with self._lock:
            self.load()
            self._track.verify()
            self._policy.verify()
            for owner in sorted(self._policy.owners()):
                if owner.startswith("group:"):
                    self.follow_group(owner.removeprefix("group:"))

    def remove(self) -> None:
        """Remove both tables."""
        with self._lock:
            self._policy.remove()
            self._track.remove()
            self._ports = {}

    def guarded(self) -> set[str]:
        """Return the ids of all guarded ports."""
        return set(self._ports)

    def tables(self) -> list[str]:
        """Return the tables that the kernel has."""
        return [table.spec.path for table in (self._policy, self._track) if table.listing()]

    def group_of_rule(self, rule_id: str) -> str:
        """Return the group of a rule that is in force, also when its row is gone; empty when unknown."""
        return self._rule_groups.get(rule_id, "")

    def follows(self, group_id: str) -> bool:
        """Return whether rules in force refer to a group's members."""
        return self._policy.fragment(f"group:{group_id}") is not None

    def _fragments_of(self, db: Reader, port: Port, known: Iterable[str]) -> dict[str, Fragment]:
        """Return a port's fragment and those of remote groups that are not in `known` yet."""
        rules: list[SecurityGroupRule] = []
        if port.port_security and port.security_group_ids:
            rules = db.rows(SecurityGroupRule, security_group_id=list(port.security_group_ids))
        self._rule_groups.update({rule.id: rule.security_group_id for rule in rules})
        found = {
            f"group:{group_id}": group_fragment(
                group_id, db.rows(SecurityGroupMember, security_group_id=group_id)
            )
            for group_id in remote_groups(rules)
            if f"group:{group_id}" not in known
        }
        groups = (db.get(SecurityGroup, group_id) for group_id in port.security_group_ids[:1])
        stateless = any(
            group is not None and not group.stateful for group in groups
        )  # all are alike
        found[f"port:{port.id}"] = port_fragment(port, rules, stateless=stateless)
        return found

    def _users_of(self, group_id: str) -> list[Port]:
        names = {f"@{name}" for name in group_sets(group_id)}
        found = []
        for port in self._ports.values():
            fragment = self._policy.fragment(f"port:{port.id}")
            rules = (
                [rule for chain in fragment.chains.values() for rule in chain] if fragment else []
            )
            if any(names & set(rule.split()) for rule in rules):
                found.append(port)
        return found

    def _cut(self, port: Port, remotes: dict[str, list[str]] | None = None) -> None:
        zone = self._zones.get(bridge_name(port.network_id), 0)
        flush_connections(self._namespaces, "", cut_filters(port, zone, remotes))

    def _zone(self, network_id: str) -> int:
        bridge = bridge_name(network_id)
        if bridge not in self._zones:
            taken = set(self._zones.values())
            self._zones[bridge] = next(zone for zone in range(1, _MAX_ZONE) if zone not in taken)
        return self._zones[bridge]

    def _zones_in_force(self) -> dict[str, int]:
        """Return the zones that the kernel has from an earlier run: connections live on in them."""
        for thing in self._track.listing():
            if thing.get("map", {}).get("name") == "zones":
                return {str(bridge): int(zone) for bridge, zone in thing["map"].get("elem", [])}
        return {}


class SecuritySync(Reconciler):
    """Follows rules and memberships of security groups."""

    name = "network.security"
    watches = (SecurityGroupRule, SecurityGroupMember)
    workers = 1

    def __init__(self, control: Control, security: Security) -> None:
        super().__init__(control)
        self._security = security

    def start(self) -> None:
        """Load the tables."""
        self._security.load()

    def keys(self) -> Iterable[str]:
        """Return the one key under which the tables are compared with the kernel's."""
        return [_VERIFY]

    def affected(self, row_type: type[Row], id: str) -> Iterable[str]:
        """Return the ports that a changed rule concerns, or the group whose members changed."""
        if row_type is SecurityGroupMember:
            group_id = id.partition("/")[0]
            return [f"group:{group_id}"] if self._security.follows(group_id) else []
        rule = self.control.db.get(SecurityGroupRule, id)
        group_id = rule.security_group_id if rule is not None else self._security.group_of_rule(id)
        if not group_id:
            return []
        guarded = self._security.guarded()
        members = self.control.db.rows(SecurityGroupMember, security_group_id=group_id)
        return [f"port:{member.port_id}" for member in members if member.port_id in guarded]

    def reconcile(self, key: str) -> Done:
        """Put one port's or group's rules in force, or compare everything."""
        kind, _colon, found_id = key.partition(":")
        if kind == "port":
            self._security.refresh_port(found_id)
        elif kind == "group":
            self._security.follow_group(found_id)
        else:
            self._security.verify()
        return Done()


def _took_away(before: Fragment, after: Fragment) -> bool:
    """Return whether rules are gone that let traffic pass."""
    return any(
        set(rules) - set(after.chains.get(name, ())) for name, rules in before.chains.items()
    )
