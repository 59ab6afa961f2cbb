"""The doctor finds what is missing, says how to mend it, and passes a good machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from node.config import ApiSection, ClusterSection, Config
from node.doctor import Check, Needs, examine, needs_of
from node.doctor.machine import LocalMachine, Output

NEEDS = Needs(state_dir="/var/lib/hedgerow", ports=(("127.0.0.1", 7443),))

GOOD_OUTPUTS = {
    "uname": "x86_64",
    "qemu-system-x86_64": "QEMU emulator version 10.0.2 (Debian 1:10.0.2)",
    "qemu-img": "qemu-img version 10.0.2",
    "qemu-storage-daemon": "qemu-storage-daemon version 10.0.2",
    "libvirtd": "libvirtd (libvirt) 9.0.0",
    "virtlogd": "virtlogd (libvirt) 9.0.0",
    "dnsmasq": "Dnsmasq version 2.90  Copyright",
    "nft": "nftables v1.0.6 (Lester Gooch #5)",
    "ip": "ip utility, iproute2-6.1.0, libbpf 1.1.2",
}


@dataclass(frozen=True, kw_only=True)
class FakeMachine:
    """A machine made of answers."""

    root: bool = True
    outputs: Mapping[str, str] = field(default_factory=lambda: GOOD_OUTPUTS)
    broken: tuple[str, ...] = ()
    """Parts of commands that fail."""
    kvm: bool = True
    busy_ports: tuple[int, ...] = ()
    free_bytes: int = 100 << 30
    file_system: str = "ext4"
    available_kib: int = 8 << 20
    synced: bool = True
    at_s: float = 1_790_000_000.0
    durable_s: float | None = 0.001

    def is_root(self) -> bool:
        return self.root

    def run(self, *argv: str, stdin: str = "") -> Output:
        command = " ".join((*argv, stdin))
        if any(part in command for part in self.broken):
            return Output(status=1, text="RTNETLINK answers: Operation not supported")
        return Output(status=0, text=self.outputs.get(argv[0], ""))

    def find(self, program: str) -> str | None:
        return f"/usr/bin/{program}" if program in self.outputs else None

    def read(self, path: str) -> str | None:
        return {
            "/proc/sys/net/bridge/bridge-nf-call-iptables": "1",
            "/proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {self.available_kib} kB\n",
        }.get(path)

    def can_open(self, path: str) -> bool:
        return self.kvm and path == "/dev/kvm"

    def port_user(self, address: str, port: int) -> str | None:
        return "Address already in use" if port in self.busy_ports else None

    def space(self, path: str) -> tuple[int, str]:
        return self.free_bytes, self.file_system

    def fsync_s(self, path: str) -> float | None:
        return self.durable_s

    def is_clock_synced(self) -> bool:
        return self.synced

    def now_s(self) -> float:
        return self.at_s


def failures(machine: FakeMachine) -> dict[str, Check]:
    # What this test's own Python has installed is not the fake machine's business.
    checks = [c for c in examine(machine, NEEDS) if c.name != "libvirt for Python"]
    return {check.name: check for check in checks if not check.ok}


def test_a_good_machine_passes_every_check() -> None:
    assert failures(FakeMachine()) == {}


@pytest.mark.parametrize(
    ("machine", "name", "needed"),
    [
        (FakeMachine(root=False), "kernel", True),
        (FakeMachine(broken=("type vxlan",)), "kernel vxlan", True),
        (FakeMachine(broken=("type bridge",)), "kernel bridge", True),
        (FakeMachine(broken=("mode tap",)), "kernel tun", True),
        (FakeMachine(broken=("masquerade",)), "nftables nat", True),
        (FakeMachine(broken=("table bridge",)), "nftables bridge", True),
        (FakeMachine(kvm=False), "kvm", False),
        (FakeMachine(busy_ports=(7443,)), "port 7443", True),
        (FakeMachine(free_bytes=1 << 30), "disk space", True),
        (FakeMachine(file_system="nfs4"), "file system", True),
        (FakeMachine(file_system="tmpfs"), "file system", False),
        (FakeMachine(available_kib=1 << 19), "memory", True),
        (FakeMachine(synced=False), "clock sync", False),
        (FakeMachine(at_s=0.0), "clock", True),
        (FakeMachine(durable_s=0.4), "durable writes", False),
        (FakeMachine(durable_s=None), "durable writes", True),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_fault_is_one_finding_with_its_remedy(
    machine: FakeMachine, name: str, needed: bool
) -> None:
    found = failures(machine)
    assert list(found) == [name]
    assert found[name].is_needed is needed
    assert found[name].mend


@pytest.mark.parametrize("program", sorted(set(GOOD_OUTPUTS) - {"uname"}))
def test_a_missing_program_names_its_package(program: str) -> None:
    rest = {name: text for name, text in GOOD_OUTPUTS.items() if name != program}
    found = failures(FakeMachine(outputs=rest))
    assert "apt-get install" in found[program].mend


def test_an_old_qemu_is_refused_with_the_way_to_a_new_one() -> None:
    outputs = {**GOOD_OUTPUTS, "qemu-img": "qemu-img version 7.2.18 (Debian 1:7.2)"}
    found = failures(FakeMachine(outputs=outputs))
    assert list(found) == ["qemu-img"]
    assert "7.2.18" in found["qemu-img"].detail
    assert "backports" in found["qemu-img"].mend


def test_ports_come_from_the_configuration() -> None:
    config = Config({"api": ApiSection(listen="192.0.2.1", port=8443, plain_port=5000)})
    assert needs_of(config).ports == (("192.0.2.1", 8443), ("127.0.0.1", 5000))
    assert needs_of(config, is_running=True).ports == ()
    cluster = ClusterSection(port=7444, data_port=7445, listen="192.0.2.2")
    both = Config({"api": ApiSection(port=8443), "cluster": cluster})
    assert needs_of(both).ports[1:] == (("192.0.2.2", 7444), ("192.0.2.2", 7445))


def test_this_machine_answers_every_question() -> None:
    checks = examine(LocalMachine(), Needs(state_dir="/nowhere/yet", ports=(("127.0.0.1", 0),)))
    by_name = {check.name: check for check in checks}
    assert by_name["port 0"].ok
    assert all(check.mend for check in checks if not check.ok)
    assert "unknown" not in by_name["file system"].detail
