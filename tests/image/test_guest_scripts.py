"""The guest's parsers, run by this machine's awk: no guest is booted."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SCRIPTS = Path(__file__).parents[2] / "image/guest/rootfs/usr/lib/guest"

pytestmark = pytest.mark.skipif(shutil.which("awk") is None, reason="no awk here")


def awk(script: str, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["awk", *options, "-f", SCRIPTS / script],
        input=text,
        text=True,
        capture_output=True,
        check=False,
    )


def flat(value: object, path: str = "") -> list[str]:
    """Say what json.awk should print for a value."""
    match value:
        case dict():
            items = [(str(k), v) for k, v in value.items()]
        case list():
            items = [(str(n), v) for n, v in enumerate(value)]
        case str():
            return [f"{path}\t{value}"]
        case _:
            return [f"{path}\t{json.dumps(value)}"]
    return [line for name, v in items for line in flat(v, f"{path}.{name}" if path else name)]


# printable ASCII: the guest replaces everything else, see json.awk
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
NAME = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAME, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAME, JSON, max_size=4), st.sampled_from([None, 2]))
def test_json_is_flattened(value: dict[str, object], indent: int | None) -> None:
    done = awk("json.awk", json.dumps(value, indent=indent))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == flat(value)


def test_line_breaks_and_foreign_letters_stay_within_a_line() -> None:
    done = awk("json.awk", '{"a": "x\\ny\\u0041\\u00e9\\/"}')
    assert done.stdout == "a\tx yA?/\n"


@pytest.mark.parametrize(
    "text", ["", "{", '{"a"}', "<html>", '{"a": 1} x', '["a" "b"]', '{"a": "b}']
)
def test_what_is_not_json_fails(text: str) -> None:
    assert awk("json.awk", text).returncode == 1


def network(*networks: dict[str, object], **services: str) -> list[str]:
    data = {
        "links": [{"id": "tap0", "ethernet_mac_address": "52:54:00:aa:bb:cc", "mtu": 1450}],
        "networks": [{"link": "tap0", **entry} for entry in networks],
        "services": [{"type": kind, "address": address} for kind, address in services.items()],
    }
    lines = awk(
        "network.awk", awk("json.awk", json.dumps(data)).stdout, "-F", "\t"
    ).stdout.splitlines()
    assert all(line.startswith("52:54:00:aa:bb:cc ") for line in lines)
    return [line.partition(" ")[2] for line in lines]


def test_fixed_ipv4_becomes_address_routes_and_resolver() -> None:
    route = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"}
    entry = {
        "type": "ipv4",
        "ip_address": "10.0.0.9",
        "netmask": "255.255.252.0",
        "routes": [route],
    }
    assert network(entry, dns="10.0.0.2") == [
        "mtu 1450",
        "address 10.0.0.9/22",
        "route 0.0.0.0/0 10.0.0.1",
        "dns 10.0.0.2",
    ]


@pytest.mark.parametrize("netmask", ["ffff:ffff:ffff:ffff::", "64"])
def test_fixed_ipv6_becomes_address_and_gateway(netmask: str) -> None:
    entry = {
        "type": "ipv6",
        "ip_address": "2001:db8::9",
        "netmask": netmask,
        "gateway": "2001:db8::1",
    }
    assert network(entry) == ["mtu 1450", "address6 2001:db8::9/64", "route6 default 2001:db8::1"]


@pytest.mark.parametrize("kind", ["ipv4_dhcp", "ipv6_dhcp", "ipv6_slaac"])
def test_what_the_network_gives_itself_is_left_to_it(kind: str) -> None:
    assert network({"type": kind, "ip_address": "10.0.0.9", "netmask": "255.255.255.0"}) == []
