"""The guest image, booted: what it promises in image/guest/README.md. One guest at a time."""

import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.image.running_guest import RunningGuest, until

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(400)]

FIXED_MAC = "52:54:00:00:00:02"
USER_DATA = "#!/bin/sh\necho ran >> /var/lib/user-data-runs\necho hello from user data\n"


def facts(image: Path) -> dict[str, str]:
    lines = image.with_name("guest.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def meta_data(key: Path, name: str) -> dict[str, object]:
    public = key.with_suffix(".pub").read_text()
    return {
        "uuid": hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(),
        "hostname": f"{name}.novalocal",
        "name": 'any "name" \u00e9',
        "public_keys": {"my.key": public},
        "keys": [{"name": "my.key", "type": "ssh", "data": public}],
        "meta": {},
        "launch_index": 0,
    }


NETWORK_DATA = {
    "links": [{"id": "tap1", "type": "ovs", "ethernet_mac_address": FIXED_MAC, "mtu": 1400}],
    "networks": [
        {
            "id": "network1",
            "link": "tap1",
            "type": "ipv4",
            "ip_address": "192.0.2.7",
            "netmask": "255.255.255.192",
            "routes": [
                {"network": "198.51.100.0", "netmask": "255.255.255.0", "gateway": "192.0.2.1"}
            ],
        },
        {
            "id": "network2",
            "link": "tap1",
            "type": "ipv6",
            "ip_address": "2001:db8::7",
            "netmask": "64",
        },
    ],
    "services": [{"type": "dns", "address": "192.0.2.53"}],
}


@pytest.fixture(scope="module")
def config_drive(key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("config-drive")
    latest = tree / "tree/openstack/latest"
    latest.mkdir(parents=True)
    (latest / "meta_data.json").write_text(json.dumps(meta_data(key, "drive-1")))
    (latest / "network_data.json").write_text(json.dumps(NETWORK_DATA))
    (latest / "user_data").write_text(USER_DATA)
    iso = tree / "config.iso"
    subprocess.run(
        ["genisoimage", "-quiet", "-o", iso, "-V", "config-2", "-R", "-J", tree / "tree"],
        check=True,
    )
    return iso


@pytest.fixture(scope="module")
def guest(guest_image: Path, key: Path, config_drive: Path) -> Iterator[RunningGuest]:
    """Boot with a config drive (a virtio disk) and a second card on which nobody answers DHCP."""
    extra = (
        "-drive", f"file={config_drive},if=virtio,format=raw,readonly=on",
        "-netdev", "hubport,id=dumb,hubid=9", "-device", f"virtio-net-pci,netdev=dumb,mac={FIXED_MAC}",
    )  # fmt: skip
    with RunningGuest(guest_image, key, extra=extra) as running:
        running.wait_mark("ssh")
        running.ssh("true")
        print(f"ssh answered {time.monotonic() - running.started_at:.1f} s after the start of QEMU")
        running.wait_mark("ready")
        yield running


def test_facts_describe_the_image(guest_image: Path) -> None:
    known = facts(guest_image)
    data = guest_image.read_bytes()
    assert known["GUEST_USER"] == "hedgerow"
    assert int(known["GUEST_SIZE_BYTES"]) == len(data) < 30_000_000
    assert known["GUEST_SHA256"] == hashlib.sha256(data).hexdigest()
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", guest_image]))
    assert info["format"] == "qcow2"
    assert (
        info["virtual-size"]
        == int(known["GUEST_DISK_BYTES"])
        <= int(known["GUEST_MIN_DISK_GIB"]) << 30
    )
    assert "backing-filename" not in info


def test_marks_come_in_order_and_a_login_last(guest: RunningGuest) -> None:
    words = [mark.split()[0] for mark in guest.marks()]
    assert [w for w in words if w in {"init", "data", "ssh", "user_data", "ready"}] == [
        "init", "data", "ssh", "user_data", "ready",
    ]  # fmt: skip
    assert guest.wait_mark("data") == "data config-drive"
    assert guest.wait_mark("ready") == "ready hostname=drive-1"
    until("login", lambda: guest.console().rstrip().endswith("drive-1 login:"), 20)
    seconds = list(guest.marks().values())
    assert seconds == sorted(seconds)


def test_user_data_ran_and_its_output_is_on_the_console(guest: RunningGuest) -> None:
    assert guest.ssh("cat /var/lib/user-data-runs") == "ran\n"
    assert "hello from user data" in guest.console()
    assert guest.wait_mark("user_data") == "user_data rc=0"


def test_hostname_and_os_release(guest: RunningGuest) -> None:
    assert guest.ssh("hostname") == "drive-1\n"
    assert "ID=hedgerow-guest" in guest.ssh("cat /etc/os-release")


def test_root_grows_to_the_disk(guest: RunningGuest) -> None:
    assert "vda" in guest.ssh("lsblk -ln -o NAME")
    kib = until(
        "grown root",
        lambda: next(
            (n for n in [int(guest.ssh("df -kP / | awk 'END { print $2 }'"))] if n > 1.9 * 2**20),
            None,
        ),
        20,
    )
    assert kib < 2 * 2**20


def test_fixed_addresses_where_dhcp_is_silent(guest: RunningGuest) -> None:
    card = guest.ssh(f"grep -l {FIXED_MAC} /sys/class/net/*/address").split("/")[4]
    addresses = guest.ssh(f"ip addr show {card}")
    assert "inet 192.0.2.7/26 " in addresses
    assert "inet6 2001:db8::7/64 " in addresses
    assert "mtu 1400" in addresses
    routes = guest.ssh("ip route")
    assert f"198.51.100.0/24 via 192.0.2.1 dev {card}" in routes
    assert "default via 10.0.2.2 dev" in routes
    assert "nameserver 192.0.2.53" in guest.ssh("cat /etc/resolv.conf")


def test_a_lease_is_applied_as_its_options_say(guest: RunningGuest) -> None:
    card = guest.ssh(f"grep -l {FIXED_MAC} /sys/class/net/*/address").split("/")[4]
    lease = (
        f"interface={card} ip=192.0.2.99 mask=26 mtu=1350 domain=example.org router=192.0.2.1"
        " dns='192.0.2.53 192.0.2.54'"
        " staticroutes='0.0.0.0/0 192.0.2.2 169.254.169.254/32 192.0.2.3 203.0.113.0/24 0.0.0.0'"
    )
    guest.ssh(f"{lease} /usr/lib/guest/dhcp bound")
    assert "mtu 1350" in guest.ssh(f"ip link show {card}")
    routes = guest.ssh("ip route")
    assert f"169.254.169.254 via 192.0.2.3 dev {card}" in routes
    assert f"203.0.113.0/24 dev {card} scope link" in routes
    assert "default via 192.0.2.2" in routes
    assert "via 192.0.2.1" not in routes.replace("198.51.100.0/24 via 192.0.2.1", "")  # RFC 3442
    assert "search example.org\nnameserver 192.0.2.53\nnameserver 192.0.2.54" in guest.ssh(
        "cat /etc/resolv.conf"
    )
    guest.ssh(f"interface={card} /usr/lib/guest/dhcp deconfig")
    assert "192.0.2.99" not in guest.ssh(f"ip addr show {card}")


def test_passwords_open_the_console_only(guest: RunningGuest) -> None:
    done = subprocess.run(
        ["ssh", *guest.ssh_options(), "-o", "PubkeyAuthentication=no", "-p", str(guest.ssh_port),
         "hedgerow@127.0.0.1", "true"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 255
    assert re.search(r"Permission denied \(publickey\)", done.stderr)


@pytest.mark.parametrize(
    "tool",
    ["ping", "nc", "wget", "httpd", "ip", "lsblk", "blkid", "mkfs.ext4", "mkfs.vfat", "mount", "dd", "fdisk", "sudo",
     "dbclient", "curl", "md5sum", "nslookup", "udhcpc"],
)  # fmt: skip
def test_tool_is_there(guest: RunningGuest, tool: str) -> None:
    # the name alone is the answer for what busybox has within its shell
    assert guest.ssh(f"command -v {tool}").strip().rpartition("/")[2] == tool


def test_sudo_runs_its_arguments(guest: RunningGuest) -> None:
    assert guest.ssh("sudo -n -u root A=b sh -c 'echo $A $(id -u) \"$1\"' x 'y  z'") == "b 0 y  z\n"


def test_file_systems_can_be_made_and_kept(guest: RunningGuest) -> None:
    guest.ssh(
        "set -e; dd if=/dev/zero of=/tmp/fs bs=1M count=8; mkfs.ext4 -q -F -L mine /tmp/fs; mount -o loop /tmp/fs /mnt;"
        " echo kept > /mnt/file; umount /mnt; mount -o loop /tmp/fs /mnt; grep kept /mnt/file; umount /mnt"
    )


def test_files_travel_by_sftp(guest: RunningGuest, tmp_path: Path) -> None:
    data = bytes(range(256)) * 300
    (tmp_path / "file").write_bytes(data)
    subprocess.run(
        ["scp", *guest.ssh_options(), "-P", str(guest.ssh_port), tmp_path / "file", "hedgerow@127.0.0.1:/tmp/copy"],
        check=True, timeout=60,
    )  # fmt: skip
    assert hashlib.md5(data).hexdigest() in guest.ssh("md5sum /tmp/copy")


def test_reboot_and_power_button(guest: RunningGuest) -> None:
    """Last of the module: the guest is off afterwards."""
    mark = until("init mark", lambda: guest.marks().get("init"), 5)
    guest.ssh("sync; (sleep 0.2; sudo reboot) > /dev/null 2>&1 &")
    until("second boot", lambda: guest.console().count("GUEST: init") == 2 and mark, 60)
    until("second ready", lambda: guest.console().count("GUEST: ready") == 2, 60)
    assert guest.ssh("cat /var/lib/user-data-runs") == "ran\n"
    assert guest.console().count("GUEST: user_data") == 1
    assert guest.ssh("hostname") == "drive-1\n"

    guest.qmp("system_powerdown")
    took_s = guest.wait_off(30)
    print(f"power button: off after {took_s:.2f} s")
    assert took_s < 10


@contextmanager
def metadata_service(pages: dict[str, str]) -> Iterator[tuple[int, list[str]]]:
    """Serve pages on a loopback port; yield it and the list of paths asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            page = pages.get(self.path)
            body = (page or "not found").encode()
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


def openstack_pages(key: Path, name: str) -> dict[str, str]:
    return {
        "/openstack/latest/meta_data.json": json.dumps(meta_data(key, name)),
        "/openstack/latest/user_data": USER_DATA,
    }


def ec2_pages(key: Path) -> dict[str, str]:
    return {
        "/latest/meta-data/instance-id": "i-00000001",
        "/latest/meta-data/hostname": "meta-1.novalocal",
        "/latest/meta-data/public-keys/": "0=my-key",
        "/latest/meta-data/public-keys/0/openssh-key": key.with_suffix(".pub").read_text(),
        "/latest/user-data": USER_DATA,
    }


def metadata_network(port: int) -> str:
    """Make QEMU's user network answer 169.254.169.254: it does that only for an address within itself."""
    relay = Path(__file__).with_name("relay.py")
    return (
        f",net=169.254.169.0/24,guestfwd=tcp:169.254.169.254:80-cmd:{sys.executable} {relay} {port}"
    )


@pytest.mark.parametrize(("source", "machine"), [("openstack", "q35"), ("ec2", "pc")])
def test_data_from_the_metadata_service(
    guest_image: Path, key: Path, source: str, machine: str
) -> None:
    pages = openstack_pages(key, "meta-1") if source == "openstack" else ec2_pages(key)
    with (
        metadata_service(pages) as (port, asked),
        RunningGuest(
            guest_image, key, memory_mib=96, machine=machine, network=metadata_network(port)
        ) as running,
    ):
        assert running.wait_mark("net").startswith("net eth0 169.254.169.")
        assert running.wait_mark("data") == f"data {source}"
        running.wait_mark("ssh")
        assert running.ssh("hostname") == "meta-1\n"
        assert running.wait_mark("ready") == "ready hostname=meta-1"
        assert running.ssh("cat /var/lib/user-data-runs") == "ran\n"
    assert set(pages) <= set(asked)


def test_a_copied_disk_becomes_an_instance_of_its_own(guest_image: Path, key: Path) -> None:
    pages = openstack_pages(key, "first")
    with (
        metadata_service(pages) as (port, _),
        RunningGuest(guest_image, key, network=metadata_network(port)) as running,
    ):
        running.wait_mark("ready")
        host_key = running.ssh("dropbearkey -y -f /etc/dropbear/ed25519 | grep ^ssh")
        running.ssh("(sleep 0.2; sudo poweroff) > /dev/null 2>&1 &")
        print(f"poweroff command: off after {running.wait_off(30):.2f} s")

        pages.update(openstack_pages(key, "second"))
        running.power_on()
        assert running.wait_mark("ready") == "ready hostname=second"
        assert running.ssh("cat /var/lib/user-data-runs") == "ran\nran\n"
        assert running.ssh("dropbearkey -y -f /etc/dropbear/ed25519 | grep ^ssh") != host_key
