"""A real guest under QEMU on a real tap: DHCP, metadata, security group, floating IP, ssh."""

import subprocess
from pathlib import Path

import pytest

from node.lab.image import guest_image
from node.plugins.network.tables import FloatingIp, Port, PortAddress, tap_name
from tests.netns.site import Site, eventually, run

pytestmark = [pytest.mark.netns, pytest.mark.vm, pytest.mark.slow, pytest.mark.timeout(280)]

_BOOT_S = 180.0


@pytest.fixture(scope="session")
def image() -> Path:
    """The guest image; made before a test enters its namespace, where no mirror can be reached."""
    return guest_image().path


def test_a_real_guest_boots_on_its_port(image: Path, site: Site) -> None:
    key = site.directory / "id"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(key))
    _net, external = site.network("203.0.113.0/24", dhcp=False, external=True)
    _network, subnet = site.network()
    router = site.router(external, "203.0.113.10", subnet)
    ssh = {"protocol": "tcp", "port_min": 22, "port_max": 22, "direction": "ingress"}
    port = site.port(subnet, "10.0.0.11", security_group_ids=(site.group(ssh).id,))
    fip_port = site.port(external, "203.0.113.20", device_owner="network:floatingip", node_id="")
    fip = FloatingIp(
        **site.fresh(),
        floating_network_id=external.network_id,
        address="203.0.113.20",
        floating_port_id=fip_port.id,
        port_id=port.id,
        fixed_ip_address="10.0.0.11",
        router_id=router.id,
    )
    site.store(fip)
    public = key.with_suffix(".pub").read_text().strip()
    meta = f'{{"uuid": "{port.device_id}", "hostname": "guest", "name": "guest", "public_keys": {{"k": "{public}"}}}}'
    versions = ("2012-08-10", "2013-04-04", "2018-08-27", "latest")
    site.rows.metadata[port.device_id] = {
        **{f"openstack/{version}/meta_data.json": meta.encode() for version in versions},
        "latest/meta-data/instance-id": b"i-1",
        "latest/meta-data/hostname": b"guest",
        "latest/meta-data/public-keys/": b"0=k",
        "latest/meta-data/public-keys/0/openssh-key": public.encode(),
    }
    site.settle()
    assert port.fixed_ips == (PortAddress(subnet_id=subnet.id, ip_address="10.0.0.11"),)
    assert site.db.must(Port, port.id).have == "active"

    console = site.directory / "console"
    argv = [
        *(
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-m",
            "192",
            "-display",
            "none",
            "-monitor",
            "none",
        ),
        *(
            "-drive",
            f"file={image},if=virtio,format=qcow2,snapshot=on",
            "-serial",
            f"file:{console}",
        ),
        *("-netdev", f"tap,id=n,ifname={tap_name(port.id)},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=n,mac={port.mac_address}"),
    ]
    guest = subprocess.Popen(argv)
    try:
        lines = lambda: console.read_text(errors="replace") if console.exists() else ""  # noqa: E731
        eventually(lambda: "GUEST: ready" in lines(), "the guest never became ready", _BOOT_S)
        ssh_argv = [
            *(
                "ssh",
                "-i",
                str(key),
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ),
            *("-o", "ConnectTimeout=5", "-o", "BatchMode=yes", "hedgerow@203.0.113.20"),
        ]
        eventually(
            lambda: "here" in run(*ssh_argv, "echo here", ok=False), "no ssh by the floating IP", 60
        )
        assert "mtu 1442" in run(*ssh_argv, "ip link show eth0 2>/dev/null || ip link")
        assert " 0% packet loss" in run(*ssh_argv, "ping -c1 -W2 198.18.0.1", ok=False)
        assert " 0% packet loss" not in run("ping", "-c1", "-W1", "203.0.113.20", ok=False), (
            "only ssh may come in"
        )
        site.restart()
        site.settle()
        assert "still" in run(*ssh_argv, "echo still", ok=False)
    finally:
        guest.kill()
        guest.wait()
