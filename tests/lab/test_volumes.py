"""Block storage as users have it: the unmodified `openstack` client, and a guest that uses a volume."""

import secrets
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from node.plugins.compute.drivers.libvirt_devices import RECONNECTS
from node.testing.running_lab import RunningLab, wait_until

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]


def settled(lab: RunningLab, kind: tuple[str, ...], name: str, status: str, cloud: str) -> Any:
    """Wait for the status of a volume, a snapshot or a backup; return what is shown of it."""
    shown: Any = {}

    def ready() -> bool:
        nonlocal shown
        shown = lab.show(*kind, "show", name, cloud=cloud)
        assert "error" not in shown["status"] or "error" in status, shown
        return bool(shown["status"] == status)

    wait_until(f"{' '.join(kind)} {name} {status}", ready, timeout_s=120)
    return shown


def gone(lab: RunningLab, kind: tuple[str, ...], cloud: str) -> None:
    """Wait until a list of the client is empty."""
    wait_until(f"no {kind}", lambda: lab.show(*kind, "list", cloud=cloud) == [], timeout_s=120)


def test_volumes_snapshots_backups_and_transfers(lab: RunningLab) -> None:
    admin, demo = "hedgerow", "demo"
    lab.openstack("volume", "qos", "create", "--property", "total_iops_sec=500", "slow", cloud=admin)
    lab.openstack("volume", "type", "create", "--property", "note:a=b", "--public", "kept", cloud=admin)
    lab.openstack("volume", "qos", "associate", "slow", "kept", cloud=admin)
    assert lab.show("volume", "qos", "show", "slow", cloud=admin)["associations"]
    made = lab.show("volume", "create", "--size", "1", "--type", "kept", "--property", "k=v", "v")
    assert made["type"] == "kept"
    volume = settled(lab, ("volume",), "v", "available", demo)
    assert volume["properties"]["k"] == "v"
    lab.openstack("volume", "set", "--name", "w", "--size", "2", "v")
    wait_until(
        "the volume grew", lambda: lab.show("volume", "show", "w")["size"] == 2, timeout_s=120
    )
    settled(lab, ("volume",), "w", "available", demo)
    lab.openstack("volume", "snapshot", "create", "--volume", "w", "s")
    settled(lab, ("volume", "snapshot"), "s", "available", demo)
    lab.openstack("volume", "create", "--snapshot", "s", "copy")
    settled(lab, ("volume",), "copy", "available", demo)
    lab.openstack("volume", "backup", "create", "--name", "full", "w")
    settled(lab, ("volume", "backup"), "full", "available", demo)
    lab.openstack("volume", "backup", "create", "--name", "more", "--incremental", "w")
    settled(lab, ("volume", "backup"), "more", "available", demo)
    lab.openstack("volume", "backup", "restore", "more", "restored")
    settled(lab, ("volume",), "restored", "available", demo)
    offer = lab.show("volume", "transfer", "request", "create", "--name", "t", "copy")
    accept = ("volume", "transfer", "request", "accept", "--auth-key", offer["auth_key"])
    lab.openstack(*accept, offer["id"], cloud=admin)
    assert lab.show("volume", "show", "copy", cloud=admin)["status"] == "available"
    assert {one["Name"] for one in lab.show("volume", "list")} == {"w", "restored"}
    pools = lab.show("volume", "backend", "pool", "list", cloud=admin)
    assert pools
    assert {one["Binary"] for one in lab.show("volume", "service", "list", cloud=admin)} >= {
        "cinder-volume"
    }
    lab.openstack("volume", "snapshot", "delete", "s")
    gone(lab, ("volume", "snapshot"), demo)
    lab.openstack("volume", "backup", "delete", "more")
    wait_until("one left", lambda: len(lab.show("volume", "backup", "list")) == 1, timeout_s=60)
    lab.openstack("volume", "backup", "delete", "full")
    lab.openstack("volume", "delete", "w", "restored")
    lab.openstack("volume", "delete", "copy", cloud=admin)
    gone(lab, ("volume", "backup"), demo)
    gone(lab, ("volume",), demo)
    gone(lab, ("volume",), admin)
    lab.openstack("volume", "qos", "disassociate", "--all", "slow", cloud=admin)
    lab.openstack("volume", "qos", "delete", "slow", cloud=admin)
    lab.openstack("volume", "type", "delete", "kept", cloud=admin)


def test_a_guest_uses_a_volume_that_grows(lab: RunningLab) -> None:
    server, key = lab.facts["server"], Path(lab.facts["ssh_key"])
    address = server["floating_ip"]
    own = partial(lab.openstack, cloud="hedgerow")  # the first server is the admin project's
    lab.wait_for_ssh(address, key)
    name = f"data-{secrets.token_hex(3)}"
    own("volume", "create", "--size", "1", name)
    volume = settled(lab, ("volume",), name, "available", "hedgerow")["id"]
    own("server", "add", "volume", server["id"], volume)
    settled(lab, ("volume",), name, "in-use", "hedgerow")

    def sectors() -> str:
        done = lab.ssh(address, "cat /sys/block/vdb/size 2>/dev/null || true", key)
        return done.strip()

    wait_until("the guest has the disk", lambda: sectors() == str(2 << 20), timeout_s=120)
    lab.ssh(address, "echo written | sudo dd of=/dev/vdb bs=512 conv=notrunc,sync,fsync", key)
    # The client says no `force` to a cloud that needs none since 3.66, but asks with 3.65 by itself.
    newer = ("--os-volume-api-version", "3.66")
    own(*newer, "volume", "snapshot", "create", "--volume", volume, name)
    settled(lab, ("volume", "snapshot"), name, "available", "hedgerow")
    if RECONNECTS:  # libvirt 9.1 and later
        own("volume", "set", "--size", "2", volume)
        wait_until("the guest sees the new size", lambda: sectors() == str(4 << 20), timeout_s=120)
    read = "sudo dd if=/dev/vdb bs=512 count=1 iflag=direct 2>/dev/null | head -c 7"
    assert lab.ssh(address, read, key) == "written"
    own("server", "remove", "volume", server["id"], volume)
    settled(lab, ("volume",), name, "available", "hedgerow")
    wait_until("the disk is gone", lambda: sectors() == "", timeout_s=120)
    own("volume", "snapshot", "delete", name)
    gone(lab, ("volume", "snapshot"), "hedgerow")
    own("volume", "delete", volume)
    gone(lab, ("volume",), "hedgerow")
