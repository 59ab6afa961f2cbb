"""The life of real guests on a real libvirtd, killed at bad moments."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.plugins.compute import names, planes
from node.plugins.compute.tables import FlavorFacts, Server
from node.testing.compute_plane import port_state
from node.testing.live_compute import LiveNode, eventually

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def tap() -> Iterator[str]:
    """A tap device as the network plugin makes them."""
    name = f"tap{uuid.uuid4().hex[:11]}"
    subprocess.run(["ip", "tuntap", "add", name, "mode", "tap"], check=True)
    subprocess.run(
        ["ip", "link", "set", name, "up", "mtu", "1450", "addrgenmode", "none"], check=True
    )
    try:
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=False)


def _boots(node: LiveNode, server_id: str) -> int:
    log = names.console_log_path(node.directory, server_id)
    return log.read_text(errors="replace").count("GUEST: init")


def test_a_server_lives_and_leaves_nothing(node: LiveNode) -> None:
    server_id = node.create(config_drive=True)
    row = node.wait_for(server_id, "active")
    assert row.power == 1
    node.wait_for_mark(server_id, "GUEST: data config-drive")
    node.wait_for_mark(server_id, "GUEST: ready")
    assert len(node.qemus()) == 1

    node.job(server_id, "stop", want="stopped")
    node.wait_for(server_id, "stopped")
    log = names.console_log_path(node.directory, server_id).read_text(errors="replace")
    assert "GUEST: poweroff" in log  # it was asked, not killed
    assert not node.qemus()

    node.job(server_id, "start", want="active")
    node.wait_for(server_id, "active")
    node.wait_for_mark(server_id, "GUEST: ready", 2)

    node.job(server_id, "reboot_hard")
    node.wait_for(server_id, "active")
    node.wait_for_mark(server_id, "GUEST: init", 3)

    node.delete(server_id)
    assert not node.qemus()
    left = [p for p in (node.directory / "instances").rglob("*") if p.is_file()]
    assert left == []
    assert list((node.directory / "libvirt").rglob("*instance-*")) == []


def test_guests_outlive_libvirtd_and_the_node(node: LiveNode, tap: str) -> None:
    server_id = node.create()
    node.world.ports[server_id] = [port_state(tap)]
    node.wait_for(server_id, "active")
    node.wait_for_mark(server_id, "GUEST: init")
    guests = node.qemus()
    assert len(guests) == 1
    assert subprocess.run(["ip", "link", "show", tap], check=False).returncode == 0

    os.kill(node.libvirtd_pid(), signal.SIGKILL)
    # Somebody asks for something: the daemon is started again and finds the guest.
    node.job(server_id, "pause")
    node.wait_for(server_id, "paused")
    assert node.qemus().keys() == guests.keys()
    node.job(server_id, "unpause")
    node.wait_for(server_id, "active")

    os.kill(node.libvirtd_pid(), signal.SIGKILL)
    node.restart()
    eventually("libvirtd is back", node.libvirtd_pid)
    assert node.qemus().keys() == guests.keys()
    assert node.row(server_id).have == "active"
    node.job(server_id, "reboot_soft")
    node.wait_for(server_id, "active", 90)
    node.wait_for_mark(server_id, "GUEST: init", 2)
    node.delete(server_id)
    assert not node.qemus()


@pytest.mark.parametrize("delay_s", [0.05, 0.2, 0.35, 0.5])
def test_libvirtd_killed_in_the_middle_of_a_start(node: LiveNode, delay_s: float) -> None:
    warm = node.create()  # so that the next start takes as long as starts take
    node.wait_for(warm, "active")
    node.delete(warm)
    server_id = node.create()
    time.sleep(delay_s)
    os.kill(node.libvirtd_pid(), signal.SIGKILL)
    node.wait_for(server_id, "active", 150)  # the next libvirtd may wait half a minute for the cut-off guest
    node.wait_for_mark(server_id, "GUEST: init")
    assert node.row(server_id).have == "active"
    assert len(node.qemus()) == 1


def test_a_libvirtd_that_hangs_is_replaced(node: LiveNode) -> None:
    server_id = node.create()
    node.wait_for(server_id, "active")
    hanging = node.libvirtd_pid()
    os.kill(hanging, signal.SIGSTOP)
    node.job(server_id, "pause")
    node.wait_for(server_id, "paused", 90)
    assert node.libvirtd_pid() not in {0, hanging}


def test_a_guest_that_hangs_while_libvirtd_starts_ends_all_the_same(node: LiveNode) -> None:
    server_id = node.create()
    node.wait_for(server_id, "active")
    os.kill(next(iter(node.qemus())), signal.SIGSTOP)
    os.kill(node.libvirtd_pid(), signal.SIGKILL)
    node.delete(server_id)
    assert not node.qemus()


def test_what_the_guest_and_qemu_do_is_seen(node: LiveNode) -> None:
    server_id = node.create()
    node.wait_for(server_id, "active")
    pid = next(iter(node.qemus()))
    os.kill(pid, signal.SIGKILL)
    row = node.wait_for(server_id, "stopped")
    assert row.power == 6
    assert row.want == "active"
    node.job(server_id, "start", want="active")
    node.wait_for(server_id, "active")
    node.job(server_id, "suspend")
    node.wait_for(server_id, "suspended")
    assert not node.qemus()
    boots = _boots(node, server_id)
    node.job(server_id, "resume")
    node.wait_for(server_id, "active")
    assert _boots(node, server_id) == boots


def test_the_machine_reboots(node: LiveNode) -> None:
    """Everything dies at once, and the boot id is another one."""
    server_id = node.create()
    node.wait_for(server_id, "active")
    node.runtime.stop()
    os.kill(node.libvirtd_pid(), signal.SIGKILL)
    for pid in node.qemus():
        os.kill(pid, signal.SIGKILL)
    eventually("guest dead", lambda: not node.qemus())
    record = node.directory / "instances" / server_id / "server.json"
    old = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    record.write_text(record.read_text().replace(old, "the-boot-before"))
    (node.directory / "libvirt" / "run" / "hedgerow-boot-id").write_text("the-boot-before")
    node.restart()
    eventually("the guest runs again", node.qemus)
    row = node.wait_for(server_id, "active")
    assert row.power == 1


def test_qemu_says_no_by_name(node: LiveNode) -> None:
    huge = FlavorFacts(id="h", name="h", vcpus=1, memory_mib=1 << 34, disk_gib=1)
    server_id = node.create(flavor=huge)

    def failed() -> Server | None:
        row = node.row(server_id)
        return row if row.have == "error" else None

    row = eventually("error", failed)
    assert "memory" in row.fault.lower()
    node.delete(server_id)
    assert not node.qemus()


def test_no_room_is_said_and_mended(node: LiveNode) -> None:
    place = node.directory / "instances"
    eventually("node is up", node.libvirtd_pid)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    try:
        (place / "_base").mkdir()
        server_id = node.create()

        def failed() -> Server | None:
            row = node.row(server_id)
            return row if row.have == "error" else None

        row = eventually("error", failed)
        assert "No space left" in row.fault
        node.delete(server_id)
        assert list((place / "_base").iterdir()) == []
    finally:
        subprocess.run(["umount", place], check=True)
    server_id = node.create()
    node.wait_for(server_id, "active")


def test_teardown_takes_all_with_it(node: LiveNode) -> None:
    server_id = node.create()
    node.wait_for(server_id, "active")
    node.runtime.stop()
    pid = node.libvirtd_pid()
    assert planes.teardown(node.directory) == 1
    assert not node.qemus()
    assert not node.libvirtd_pid()
    assert pid
    assert not (node.directory / "libvirt").exists()
    assert planes.teardown(node.directory) == 0
    assert str(node.directory) not in Path("/proc/mounts").read_text()
