"""The wires of a lab of several machines: two switches, a link of each machine to both, and the way out.

    host (where `hedgerow lab` runs) ── under ── eth0 of every machine     API, cluster, overlay
                                     └─ public ─ eth1 of every machine     floating addresses

Both switches are bridges in a machine of their own, so that nothing of them is seen by the machine that runs the lab,
and a partition is a rule of theirs: it holds for every kind of packet and no node can tell it from a broken cable.
"""

import hashlib
import ipaddress
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from node.errors import Unavailable
from node.lab.machine import Machine, command, end
from node.lab.place import Choice, Member

UNDER, PUBLIC = "under", "public"
HOST = "host"
PUBLIC_INTERFACE = "eth1"
HOST_NUMBER, VIRTUAL_NUMBER = 254, 100
LAST_NUMBER = 253
_SWITCH = "switch"
_NETNS = Path("/run/netns")
_CUTS = """
table bridge lab {
  set cut { type ifname . ifname; }
  chain forward_between {
    type filter hook forward priority 0; policy accept;
    iifname . oifname @cut drop
  }
}
"""


class Topology:
    """The machines and wires of one lab."""

    def __init__(self, directory: Path, choice: Choice) -> None:
        self._choice = choice
        self._under = ipaddress.ip_network(choice.under_cidr)
        self._digest = hashlib.sha256(str(directory.absolute()).encode()).hexdigest()[:8]
        self.switch = Machine(self._mark(_SWITCH), _SWITCH)
        self._links = {UNDER: f"hl{self._digest}u", PUBLIC: f"hl{self._digest}p"}
        self.machines = {
            one.name: Machine(self._mark(one.name), one.name, own_clocks=bool(choice.disk_mib))
            for one in choice.members
        }

    def address(self, number: int) -> str:
        """Return an address of the underlay."""
        return str(self._under[number])

    def netns(self, name: str) -> str:
        """Return the name under which `ip netns` knows a machine."""
        return self._mark(name)

    def machine(self, name: str) -> Machine:
        """Return a machine of the lab.

        Raises:
            Unavailable: there is none of that name.
        """
        if name not in self.machines:
            known = ", ".join(self.machines)
            raise Unavailable(f"This lab has no node {name}: there are {known}")
        return self.machines[name]

    def ensure(self, names: Iterable[str] | None = None) -> None:
        """Make the switches, the way out and these machines (all of them by default); what is there stays."""
        self._ensure_switch()
        wanted = [one for one in self._choice.members if names is None or one.name in names]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._ensure_machine, wanted))

    def off(self, name: str) -> None:
        """Cut a machine's power."""
        self.machine(name).off()
        self._forget_name(name)

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Drop what goes from the first machine of each pair to the second; a name may be the host's."""
        self._set("add", pairs)

    def heal(self, names: Sequence[str]) -> None:
        """Join what was cut off from these machines; without names, everything."""
        if not self.switch.pid:
            return
        if not names:
            self.switch.run(["nft", "flush", "set", "bridge", "lab", "cut"])
            return
        cut = [pair for pair in self.cuts() if set(pair) & set(names)]
        self._set("delete", cut)

    def cuts(self) -> list[tuple[str, str]]:
        """Return the directions that are cut."""
        if not self.switch.pid:
            return []
        listed = json.loads(self.switch.run(["nft", "-j", "list", "set", "bridge", "lab", "cut"]))
        found = next(item["set"] for item in listed["nftables"] if "set" in item)
        pairs = [item["concat"] for item in found.get("elem", [])]
        return sorted((str(source), str(target)) for source, target in pairs)

    def destroy(self) -> None:
        """Remove machines, switches and the way out, whatever is left of them."""
        end([self._mark(_SWITCH), *(machine.mark for machine in self.machines.values())])
        for name in (_SWITCH, *self.machines):
            self._forget_name(name)
        for link in self._links.values():
            _remove_link(link, list)
        table = f"hedgerow_lab_{self._digest}"
        if table in command(["nft", "list", "tables"]).split():
            command(["nft", "delete", "table", "ip", table])

    def _mark(self, name: str) -> str:
        return f"hedgerow-{self._digest}-{name}"

    def _ensure_switch(self) -> None:
        is_new = self.switch.ensure()
        if is_new:
            self._name(_SWITCH, self.switch)
            lines = []
            for number, bridge in enumerate((UNDER, PUBLIC)):
                mac = f"02:00:5e:00:ff:{number:02x}"
                lines += [
                    f"link add name {bridge} address {mac} type bridge mcast_snooping 0 stp_state 0",
                    f"link set {bridge} addrgenmode none up",
                ]
            self.switch.run(["ip", "-batch", "-"], "\n".join(lines) + "\n")
            self.switch.run(["nft", "-f", "-"], _CUTS)
            # The switches' own packets need no look of iptables.
            self.switch.run(["sh", "-c", "echo 0 | tee /proc/sys/net/bridge/bridge-nf-call-* || :"])
        self._ensure_way_out(is_new=is_new)

    def _ensure_way_out(self, *, is_new: bool) -> None:
        public = ipaddress.ip_network(self._choice.public_cidr)
        inner = {UNDER: f"{self.address(HOST_NUMBER)}/{self._under.prefixlen}",
                 PUBLIC: f"{public[1]}/{public.prefixlen}"}  # fmt: skip
        for bridge, link in self._links.items():
            if _has_link(link, list) and not is_new:
                continue
            _remove_link(link, list)  # its other end is in a switch that is dying
            port = HOST if bridge == UNDER else f"{HOST}.p"
            command(["ip", "link", "add", "name", link, "type", "veth",
                     "peer", "name", port, "netns", str(self.switch.pid)])  # fmt: skip
            command(["ip", "link", "set", link, "addrgenmode", "none", "up"])
            command(["ip", "address", "replace", inner[bridge], "dev", link])
            self.switch.run(["ip", "link", "set", port, "addrgenmode", "none"])
            self.switch.run(["ip", "link", "set", port, "master", bridge, "up"])
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        ours = f"{{ {self._under}, {public} }}"
        table = f"hedgerow_lab_{self._digest}"
        rules = f"""
            table ip {table}
            delete table ip {table}
            table ip {table} {{
              chain out {{
                type nat hook postrouting priority 100; policy accept;
                ip saddr {ours} ip daddr != {ours} masquerade
              }}
            }}
        """
        command(["nft", "-f", "-"], rules)

    def _ensure_machine(self, member: Member) -> None:
        machine = self.machines[member.name]
        if machine.ensure():
            self._forget_name(member.name)
        if not (_NETNS / self.netns(member.name)).exists():
            self._name(member.name, machine)
        links = machine.run(["ip", "-o", "link"])
        if "eth0@" in links and "eth1@" in links:
            return
        for port in (member.name, f"{member.name}.p"):
            _remove_link(port, self.switch.entering)  # its other end is in a machine that is dying
        address = f"{self.address(member.number)}/{self._under.prefixlen}"
        wires = []
        for index, (bridge, port) in enumerate(
            ((UNDER, member.name), (PUBLIC, f"{member.name}.p"))
        ):
            link = f"link add name {port} type veth peer name eth{index}"
            wires += [
                f"{link} address {_mac(index, member.number)} netns {machine.pid}",
                f"link set {port} addrgenmode none",
                f"link set {port} master {bridge} up",
            ]
        self.switch.run(["ip", "-batch", "-"], "\n".join(wires) + "\n")
        inside = [
            "link set eth0 addrgenmode none up",
            "link set eth1 addrgenmode none up",
            f"address add {address} dev eth0",
            f"route add default via {self.address(HOST_NUMBER)}",
        ]
        machine.run(["ip", "-batch", "-"], "\n".join(inside) + "\n")
        machine.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet"])
        machine.run(["nft", "-f", "-"], _plain_door(self._choice, self.address(HOST_NUMBER)))

    def _set(self, verb: str, pairs: Iterable[tuple[str, str]]) -> None:
        elements = ", ".join(f'"{source}" . "{target}"' for source, target in pairs)
        if elements:
            text = f"{verb} element bridge lab cut {{ {elements} }}\n"
            self.switch.run(["nft", "-f", "-"], text)

    def _name(self, name: str, machine: Machine) -> None:
        """Let `ip netns` know the machine: a courtesy, nothing of ours depends on it."""
        self._forget_name(name)
        command(["ip", "netns", "attach", self.netns(name), str(machine.pid)])

    def _forget_name(self, name: str) -> None:
        if (_NETNS / self.netns(name)).exists():
            command(["ip", "netns", "delete", self.netns(name)])


def _plain_door(choice: Choice, host: str) -> str:
    """Return rules that lead the lab's user, and nobody else, to the plain port on the machine's loopback."""
    return f"""
table ip lab_plain {{
  chain before {{
    type nat hook prerouting priority -110; policy accept;
    iifname eth0 ip saddr {host} tcp dport {choice.plain_port} dnat to 127.0.0.1:{choice.plain_port}
  }}
}}
"""


def _has_link(name: str, where: Callable[[Sequence[str]], list[str]]) -> bool:
    listed = json.loads(command(where(["ip", "-j", "link"])))
    return any(link["ifname"] == name for link in listed)


def _remove_link(name: str, where: Callable[[Sequence[str]], list[str]]) -> None:
    """Remove a link unless it is gone, or goes meanwhile: with the namespace of its other end."""
    if _has_link(name, where):
        try:
            command(where(["ip", "link", "delete", name]))
        except Unavailable:
            if _has_link(name, where):
                raise


def _mac(network: int, number: int) -> str:
    return f"02:00:5e:{network:02x}:00:{number:02x}"
