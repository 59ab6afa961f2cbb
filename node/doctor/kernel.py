"""Kernel features, each tried for real in a network namespace that ends with the trial."""

from collections.abc import Sequence

from node.doctor.check import Check
from node.doctor.machine import Machine

_MODULES = "Boot a Debian kernel that has the module (linux-image-amd64), or build it into yours: "

_LINKS = {
    "bridge": "type bridge",
    "vxlan": "type vxlan id 1 dstport 4789 local 127.0.0.1 nolearning",
    "veth": "type veth peer name hr-doctor-b",
    "tun": "",
}

_RULES = {
    "inet": "add table inet t; add chain inet t c { type filter hook forward priority 0; }; "
    "add rule inet t c ct zone 7 ct state established accept",
    "bridge": "add table bridge t; add chain bridge t c { type filter hook forward priority 0; }; "
    "add rule bridge t c ether type arp accept",
    "nat": "add table ip t; add chain ip t c { type nat hook postrouting priority 100; }; "
    "add rule ip t c masquerade",
}


def kernel_checks(machine: Machine) -> Sequence[Check]:
    """Check links, packet filter families and devices."""
    if not machine.is_root():
        return [
            Check(
                name="kernel",
                ok=False,
                detail="Kernel features are tried for real, which needs root",
                mend="Run: sudo hedgerow doctor",
            )
        ]
    return [
        *(_link(machine, kind, options) for kind, options in _LINKS.items()),
        _bridge_filter(machine),
        *(_rules(machine, family, rules) for family, rules in _RULES.items()),
        _kvm(machine),
    ]


def _link(machine: Machine, kind: str, options: str) -> Check:
    if kind == "tun":
        argv = ["ip", "tuntap", "add", "dev", "hr-doctor", "mode", "tap"]
    else:
        argv = ["ip", "link", "add", "hr-doctor", *options.split()]
    done = machine.run("unshare", "--net", *argv)
    works = done.status == 0
    return Check(
        name=f"kernel {kind}",
        ok=works,
        detail=f"A {kind} device can be made" if works else f"No {kind} device: {_line(done.text)}",
        mend="" if works else f"{_MODULES}modprobe {kind}",
    )


def _bridge_filter(machine: Machine) -> Check:
    works = machine.read("/proc/sys/net/bridge/bridge-nf-call-iptables") is not None
    if not works:
        works = machine.run("modprobe", "--dry-run", "--quiet", "br_netfilter").status == 0
    return Check(
        name="kernel br_netfilter",
        ok=works,
        detail="Bridged packets can be filtered by connection"
        if works
        else "br_netfilter is neither loaded nor to be had",
        mend="" if works else f"{_MODULES}modprobe br_netfilter",
    )


def _rules(machine: Machine, family: str, rules: str) -> Check:
    done = machine.run("unshare", "--net", "nft", "-f", "-", stdin=rules.replace("; add", "\nadd"))
    works = done.status == 0
    module = "nft_masq" if family == "nat" else "nf_tables"
    return Check(
        name=f"nftables {family}",
        ok=works,
        detail=f"Rules of the kind {family} load"
        if works
        else f"Rules of the kind {family} do not load: {_line(done.text)}",
        mend="" if works else f"{_MODULES}modprobe {module} (and: apt-get install nftables)",
    )


def _kvm(machine: Machine) -> Check:
    if machine.can_open("/dev/kvm"):
        detail = "/dev/kvm opens; the node uses it once a probe guest has started with it"
        return Check(name="kvm", ok=True, detail=detail)
    return Check(
        name="kvm",
        ok=False,
        detail="/dev/kvm does not open: guests are emulated (TCG), about ten times slower",
        mend="Switch virtualisation on in the firmware, or nested virtualisation in the host of this VM",
        is_needed=False,
    )


def _line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "no reason given"
