"""The files that guests configure themselves from."""

import base64
import json

from node.plugins.compute.metadata_render import (
    VERSIONS,
    Facts,
    config_drive_files,
    network_data,
    service_files,
)
from node.plugins.compute.tables import FlavorFacts, Server, ServerExtra
from node.sdk import FixedIp, PortState

KEY = "ssh-ed25519 AAAA me"


def port(**fields: object) -> PortState:
    ip = FixedIp(
        address="10.0.0.5",
        version=4,
        subnet_id="s",
        cidr="10.0.0.0/24",
        gateway="10.0.0.1",
        dns=("9.9.9.9",),
    )
    known = {
        "id": "0123456789abcdef", "network_id": "n", "network_name": "private", "mac": "fa:16:3e:00:00:01",
        "mtu_bytes": 1450, "fixed_ips": (ip,), "tap": "tap0123", "security_groups": ("default",),
    }  # fmt: skip
    return PortState(**{**known, **fields})  # type: ignore[arg-type]


def facts(**fields: object) -> Facts:
    server = Server(
        id="51d63891-c696-494a-b1eb-d1932167a1bf",
        project_id="p",
        name="My VM",
        hostname="my-vm",
        key_name="me",
        metadata={"a": "b"},
        flavor=FlavorFacts(id="1", name="m1.tiny", vcpus=1, memory_mib=64, disk_gib=1),
    )
    extra = ServerExtra(
        id=server.id, public_key=KEY, user_data=base64.b64encode(b"#!/bin/sh").decode()
    )
    known = {
        "server": server,
        "extra": extra,
        "ports": (port(),),
        "zone": "nova",
        "random_seed": b"\x01" * 512,
    }
    return Facts(**{**known, **fields})  # type: ignore[arg-type]


def test_every_version_has_what_it_had() -> None:
    files = service_files(facts())
    for version in VERSIONS:
        meta = json.loads(files[f"openstack/{version}/meta_data.json"])
        assert meta["public_keys"] == {"me": KEY}
        assert meta["hostname"] == "my-vm.novalocal"
        assert meta["meta"] == {"a": "b"}
        assert ("random_seed" in meta) == (version >= "2013-10-17")
        assert ("project_id" in meta) == (version >= "2015-10-15")
        assert files[f"openstack/{version}/user_data"] == b"#!/bin/sh"
        assert (f"openstack/{version}/network_data.json" in files) == (version >= "2015-10-15")
        assert (f"openstack/{version}/vendor_data2.json" in files) == (version >= "2016-10-06")
    assert files["latest/meta-data/public-keys/"] == b"0=me"
    assert files["2009-04-04/meta-data/public-keys/0/openssh-key"] == KEY.encode()
    assert files["latest/meta-data/local-ipv4"] == b"10.0.0.5"
    assert files["latest/user-data"] == b"#!/bin/sh"
    assert not any(path.startswith("/") for path in files)


def test_a_server_without_key_and_user_data() -> None:
    files = service_files(facts(extra=ServerExtra(id="x")))
    assert "public_keys" not in json.loads(files["openstack/latest/meta_data.json"])
    assert not any("user" in path or "public-keys" in path for path in files)


def test_the_password_is_on_the_config_drive_only() -> None:
    content = base64.b64encode(b"hello").decode()
    extra = ServerExtra(id="x", admin_password="s3cret", files=[("/etc/motd", content)])
    drive, service = config_drive_files(facts(extra=extra)), service_files(facts(extra=extra))
    meta = json.loads(drive["openstack/latest/meta_data.json"])
    assert meta["admin_pass"] == "s3cret"
    assert meta["files"] == [{"path": "/etc/motd", "content_path": "/content/0000"}]
    assert drive["openstack/content/0000"] == b"hello"
    assert not any(b"s3cret" in data for data in service.values())
    ec2 = json.loads(drive["ec2/latest/meta-data.json"])
    assert ec2["placement"] == {"availability-zone": "nova"}


def test_network_data() -> None:
    static = FixedIp(
        address="fd00::5", version=6, subnet_id="t", cidr="fd00::/64", gateway="fd00::1", dhcp=False,
        routes=(("fd01::/64", "fd00::2"),),
    )  # fmt: skip
    dhcp = port().fixed_ips[0]
    found = network_data([port(fixed_ips=(dhcp, static))])
    assert found["links"] == [
        {
            "id": "tap0123",
            "vif_id": "0123456789abcdef",
            "type": "bridge",
            "mtu": 1450,
            "ethernet_mac_address": "fa:16:3e:00:00:01",
        }
    ]
    assert found["networks"][0] == {
        "id": "network0",
        "link": "tap0123",
        "network_id": "n",
        "type": "ipv4_dhcp",
    }
    assert found["networks"][1]["netmask"] == "ffff:ffff:ffff:ffff::"
    assert [route["gateway"] for route in found["networks"][1]["routes"]] == ["fd00::1", "fd00::2"]
    assert found["services"] == [{"type": "dns", "address": "9.9.9.9"}]
