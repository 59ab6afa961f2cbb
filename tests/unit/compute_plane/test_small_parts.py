"""Domain XML, console logs, the KVM probe, host facts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from node.plugins.compute import console
from node.plugins.compute.domain_xml import DiskPlan, DomainPlan, InterfacePlan, domain_xml
from node.plugins.compute.host import boot_id, node_resources, process_start
from node.plugins.compute.kvm_probe import probe_kvm
from node.plugins.compute.libvirt_daemon import LibvirtDaemon, end_guests
from node.sdk import Unavailable

PLAN = DomainPlan(
    server_id="11111111-2222-3333-4444-555555555555",
    name="instance-1",
    disks=(
        DiskPlan(path="/a&b", target="vda", boot_order=1),
        DiskPlan(path="/c", target="vdz", format="raw", read_only=True),
    ),
    interfaces=(InterfacePlan(tap="tap1", mac="fa:16:3e:00:00:01", mtu_bytes=1450),),
    console_log="/log",
)


def test_the_guest_is_told_that_it_is_a_nova_instance() -> None:
    domain = ET.fromstring(domain_xml(PLAN))
    entries = {entry.get("name"): entry.text for entry in domain.iter("entry")}
    assert entries["product"] == "OpenStack Nova"
    assert entries["serial"] == entries["uuid"] == domain.findtext("uuid") == PLAN.server_id
    assert domain.find("features/acpi") is not None


def test_taps_are_not_made_by_libvirt() -> None:
    domain = ET.fromstring(domain_xml(PLAN))
    interface = domain.find("devices/interface")
    assert interface is not None
    assert interface.get("type") == "ethernet"
    target = interface.find("target")
    assert target is not None
    assert target.attrib == {"dev": "tap1", "managed": "no"}
    mtu = interface.find("mtu")
    assert mtu is not None
    assert mtu.get("size") == "1450"


def test_disks_are_escaped_and_read_only_where_said() -> None:
    domain = ET.fromstring(domain_xml(PLAN))
    first, second = domain.findall("devices/disk")
    source = first.find("source")
    assert source is not None
    assert source.get("file") == "/a&b"
    assert first.find("readonly") is None
    assert second.find("readonly") is not None


@pytest.mark.parametrize(("virt_type", "mode"), [("kvm", "host-model"), ("qemu", "custom")])
def test_the_cpu_follows_the_virt_type(virt_type: str, mode: str) -> None:
    import msgspec

    domain = ET.fromstring(domain_xml(msgspec.structs.replace(PLAN, virt_type=virt_type)))
    cpu = domain.find("cpu")
    assert cpu is not None
    assert cpu.get("mode") == mode
    assert (domain.find("features/tcg") is not None) == (virt_type == "qemu")


def test_a_long_log_is_cut_under_a_writer_that_appends(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    writer = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(writer, b"".join(b"line %05d\n" % n for n in range(1000)))
        assert not console.cut(log, 100_000)
        assert console.cut(log, 1000)
        assert log.stat().st_size <= 500
        os.write(writer, b"after\n")
    finally:
        os.close(writer)
    lines = log.read_text().splitlines()
    assert lines[-2:] == ["line 00999", "after"]
    assert lines[0].startswith("line 0")
    assert b"\0" not in log.read_bytes()


def test_tail_lines(tmp_path: Path) -> None:
    log = tmp_path / "l"
    assert console.tail_lines(log, 5) == ""
    log.write_text("a\nb\nc")
    assert console.tail_lines(log, 2) == "b\nc"
    log.write_text("a\nb\nc\n")
    assert console.tail_lines(log, 2) == "b\nc\n"
    assert console.tail_lines(log, None) == "a\nb\nc\n"
    assert console.tail_lines(log, 0) == ""
    assert console.tail_lines(log, 99) == "a\nb\nc\n"


def test_no_device_means_no_kvm(tmp_path: Path) -> None:
    answer = probe_kvm(tmp_path / "cache", qemu="qemu-system-x86_64", device=tmp_path / "none")
    assert not answer.works
    assert "none" in answer.reason


def test_a_qemu_that_never_answers_means_no_kvm_and_is_asked_once(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    fake = tmp_path / "qemu"
    fake.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo fake && exit\necho >> {asked}\nexec sleep 30\n'
    )
    fake.chmod(0o755)
    device = tmp_path / "kvm"
    device.write_text("")
    for _ in range(2):
        answer = probe_kvm(tmp_path / "cache", qemu=str(fake), device=device)
        assert not answer.works
        assert "within" in answer.reason
    assert asked.read_text().count("\n") == 1


def test_a_probe_guest_that_runs_means_kvm(tmp_path: Path) -> None:
    fake = tmp_path / "qemu"
    fake.write_text('#!/bin/sh\n[ "$1" = --version ] && echo fake && exit\nexit 85\n')
    fake.chmod(0o755)
    device = tmp_path / "kvm"
    device.write_text("")
    assert probe_kvm(tmp_path / "cache", qemu=str(fake), device=device).works


def test_host_facts(tmp_path: Path) -> None:
    found = node_resources(tmp_path, reserved_memory_mib=0)
    assert found.vcpus >= 1
    assert found.memory_mib > 100
    assert len(boot_id()) == 36
    assert process_start(os.getpid()).isdigit()
    assert process_start(2**22 + 5) == ""


def test_a_state_directory_too_deep_for_a_socket_is_said(tmp_path: Path) -> None:
    daemon = LibvirtDaemon(tmp_path / ("d" * 100), "11111111-2222-3333-4444-555555555555")
    with pytest.raises(Unavailable, match="too long"):
        daemon.ensure()
    daemon.erase()


def test_teardown_spares_a_process_that_only_has_the_id(tmp_path: Path) -> None:
    run = tmp_path / "run" / "qemu"
    run.mkdir(parents=True)
    (run / "instance-1.pid").write_text(str(os.getpid()))
    (run / "instance-2.pid").write_text("not a number")
    assert end_guests(tmp_path) == 0


def test_teardown_ends_the_guests_of_its_daemon(tmp_path: Path) -> None:
    run = tmp_path / "run" / "qemu"
    run.mkdir(parents=True)
    code = "import sys, time; time.sleep(60)"
    argv = [sys.executable, "-c", code, "-name", "guest=instance-1,debug-threads=on"]
    guest = subprocess.Popen(argv)
    try:
        deadline = time.monotonic() + 10
        while not Path(f"/proc/{guest.pid}/cmdline").read_bytes():  # exec is still at work
            assert time.monotonic() < deadline
        (run / "instance-1.pid").write_text(str(guest.pid))
        assert end_guests(tmp_path) == 1
        assert guest.wait(5) == -9
    finally:
        guest.kill()
        guest.wait()


def test_a_daemon_that_disowns_a_guest_dies_and_leaves_nothing_of_its_run(tmp_path: Path) -> None:
    listens = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen();"
        " print('ready', flush=True); sys.stdin.read()"
    )
    daemon = LibvirtDaemon(tmp_path, "11111111-2222-3333-4444-555555555555")
    run = tmp_path / "run" / "qemu"
    run.mkdir(parents=True)
    for name in ("instance-1.xml", "instance-1.pid", "instance-2.xml"):
        (run / name).write_text("0")
    daemon.socket_path.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-c", listens, str(daemon.socket_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        daemon.disown("instance-1")
        try:
            assert process.wait(30) == -signal.SIGKILL
        finally:
            process.kill()
    assert [path.name for path in run.iterdir()] == ["instance-2.xml"]
