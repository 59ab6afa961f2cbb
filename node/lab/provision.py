"""The lab's first resources, made through the REST APIs; each step finds what an earlier run has made."""

import ipaddress
import os
import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.errors import Unavailable
from node.lab.client import Rest
from node.lab.image import GuestImage
from node.lab.place import Choice, Place, write
from node.types import Frozen

IMAGE = "hedgerow-guest"
KEYPAIR = "lab"
SERVER = "first"
PUBLIC, PRIVATE, SUBNET, ROUTER = "public", "private", "private-v4", "router"
FLAVORS = (
    ("m1.nano", 128, 1, 1),
    ("m1.tiny", 256, 1, 1),
    ("m1.small", 512, 1, 2),
    ("m1.medium", 2048, 2, 10),
)
"""(name, memory MiB, vCPUs, disk GiB)."""
_PRIVATE_CIDR = "10.20.0.0/24"
_SERVER_S = 180.0

Say = Callable[[str], None]


class Made(Frozen):
    """What the lab has."""

    image_id: str
    demo_password: str
    server_id: str = ""
    floating_ip: str = ""
    fixed_ip: str = ""


def demo_project(rest: Rest, place: Place) -> str:
    """Make the project and user `demo`, a plain member; return the password."""
    path = place.directory / "demo-password"
    if not path.exists():
        write(path, secrets.token_urlsafe(15).encode())
    password = path.read_text()
    project = rest.find("/identity/v3/projects", "projects", "demo", domain_id="default")
    if project is None:
        body = {
            "project": {
                "name": "demo",
                "domain_id": "default",
                "description": "The lab's plain project",
            }
        }
        project = rest.post("/identity/v3/projects", body)["project"]
    user = rest.find("/identity/v3/users", "users", "demo", domain_id="default")
    if user is None:
        body = {
            "user": {
                "name": "demo", "domain_id": "default", "password": password, "default_project_id": project["id"],
            }
        }  # fmt: skip
        user = rest.post("/identity/v3/users", body)["user"]
    role = rest.find("/identity/v3/roles", "roles", "member")
    rest.put(f"/identity/v3/projects/{project['id']}/users/{user['id']}/roles/{role['id']}")
    return password


def image(rest: Rest, guest: GuestImage) -> str:
    """Upload the guest image; return its id."""
    found = rest.find("/image/v2/images", "images", IMAGE)
    if found is not None and found["status"] == "active":
        return str(found["id"])
    if found is None:
        body = {"name": IMAGE, "disk_format": "qcow2", "container_format": "bare", "visibility": "public",
                "min_disk": 1, "os_distro": "debian", "guest_user": guest.user}  # fmt: skip
        found = rest.post("/image/v2/images", body)
    with guest.path.open("rb") as file:
        rest.put(f"/image/v2/images/{found['id']}/file", file)
    return str(found["id"])


def flavors(rest: Rest) -> None:
    """Make the default flavors."""
    have = {item["name"] for item in rest.get("/compute/v2.1/flavors")["flavors"]}
    for number, (name, memory_mib, vcpus, disk_gib) in enumerate(FLAVORS, start=1):
        if name not in have:
            body = {
                "name": name,
                "ram": memory_mib,
                "vcpus": vcpus,
                "disk": disk_gib,
                "id": str(number),
            }
            rest.post("/compute/v2.1/flavors", {"flavor": body})


def networks(rest: Rest, choice: Choice) -> tuple[str, str]:
    """Make the public network, and a private one of admin and demo behind a router; return both ids."""
    public = rest.find("/network/v2.0/networks", "networks", PUBLIC)
    if public is None:
        body: dict[str, Any] = {"name": PUBLIC, "router:external": True, "is_default": True}
        public = rest.post("/network/v2.0/networks", {"network": body})["network"]
    if not public["subnets"]:
        network = ipaddress.ip_network(choice.public_cidr)
        pool = {"start": str(network[10]), "end": str(network[-2])}
        body = {"name": "public-v4", "network_id": public["id"], "ip_version": 4, "cidr": str(network),
                "gateway_ip": str(network[1]), "enable_dhcp": False, "allocation_pools": [pool]}  # fmt: skip
        rest.post("/network/v2.0/subnets", {"subnet": body})
    _default_pools(rest)
    private = rest.find("/network/v2.0/networks", "networks", PRIVATE)
    if private is None:
        private = rest.post("/network/v2.0/networks", {"network": {"name": PRIVATE}})["network"]
    _share(rest, private["id"])
    subnet = rest.find("/network/v2.0/subnets", "subnets", SUBNET)
    if subnet is None:
        body = {"name": SUBNET, "network_id": private["id"], "ip_version": 4, "cidr": _PRIVATE_CIDR}
        subnet = rest.post("/network/v2.0/subnets", {"subnet": body})["subnet"]
    router = rest.find("/network/v2.0/routers", "routers", ROUTER)
    if router is None:
        body = {"name": ROUTER, "external_gateway_info": {"network_id": public["id"]}}
        router = rest.post("/network/v2.0/routers", {"router": body})["router"]
    ports = rest.get("/network/v2.0/ports", device_id=router["id"], network_id=private["id"])[
        "ports"
    ]
    if not ports:
        rest.put(
            f"/network/v2.0/routers/{router['id']}/add_router_interface",
            {"subnet_id": subnet["id"]},
        )
    return str(public["id"]), str(private["id"])


def _default_pools(rest: Rest) -> None:
    """Make the pools that networks come from which are allocated for a project by themselves."""
    for version, prefix, length in ((4, "10.208.0.0/14", 26), (6, "fd4a:9d1c:60::/48", 64)):
        name = f"default-v{version}"
        if rest.find("/network/v2.0/subnetpools", "subnetpools", name) is None:
            body = {"name": name, "prefixes": [prefix], "default_prefixlen": length, "shared": True, "is_default": True}
            rest.post("/network/v2.0/subnetpools", {"subnetpool": body})


def _share(rest: Rest, network_id: str) -> None:
    """Offer a network to the project demo. Not to all: a project with a network of its own would have two then."""
    demo = rest.find("/identity/v3/projects", "projects", "demo", domain_id="default")
    offer = {
        "object_type": "network",
        "object_id": network_id,
        "action": "access_as_shared",
        "target_tenant": demo["id"],
    }
    if not rest.get("/network/v2.0/rbac-policies", **offer)["rbac_policies"]:
        rest.post("/network/v2.0/rbac-policies", {"rbac_policy": offer})


def access(rest: Rest, place: Place) -> None:
    """Make the lab's ssh key known, and let ssh and ping reach the admin project's servers."""
    if not place.ssh_key.exists():
        argv = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "hedgerow-lab",
            "-f",
            str(place.ssh_key),
        ]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    keys = [item["keypair"]["name"] for item in rest.get("/compute/v2.1/os-keypairs")["keypairs"]]
    if KEYPAIR not in keys:
        public = place.ssh_key.with_suffix(".pub").read_text().strip()
        rest.post("/compute/v2.1/os-keypairs", {"keypair": {"name": KEYPAIR, "public_key": public}})
    project = rest.find("/identity/v3/projects", "projects", "admin")["id"]
    groups = rest.get("/network/v2.0/security-groups", name="default", project_id=project)
    group = groups["security_groups"][0]
    open_ports = {
        (rule["protocol"], rule["port_range_min"])
        for rule in group["security_group_rules"]
        if rule["direction"] == "ingress"
        and rule["ethertype"] == "IPv4"
        and not rule["remote_group_id"]
    }
    for protocol, port in (("tcp", 22), ("icmp", None)):
        if (protocol, port) not in open_ports:
            rule = {"direction": "ingress", "ethertype": "IPv4", "protocol": protocol,
                    "port_range_min": port, "port_range_max": port, "security_group_id": group["id"]}  # fmt: skip
            rest.post("/network/v2.0/security-group-rules", {"security_group_rule": rule})


def server(
    rest: Rest, image_id: str, public_id: str, private_id: str, say: Say
) -> tuple[str, str, str]:
    """Boot the first server with a floating IP; return its id, the floating and the fixed address.

    Raises:
        Unavailable: it does not become active in time, or fails; says why.
    """
    found = rest.find("/compute/v2.1/servers/detail", "servers", SERVER)
    if found is None:
        flavor = rest.find("/compute/v2.1/flavors", "flavors", FLAVORS[0][0])["id"]
        body = {"name": SERVER, "imageRef": image_id, "flavorRef": flavor, "key_name": KEYPAIR,
                "networks": [{"uuid": private_id}]}  # fmt: skip
        found = rest.post("/compute/v2.1/servers", {"server": body})["server"]
    elif found["status"] == "SHUTOFF":
        rest.post(f"/compute/v2.1/servers/{found['id']}/action", {"os-start": None})
    found = _active(rest, str(found["id"]), say)
    ports = rest.get("/network/v2.0/ports", device_id=found["id"])["ports"]
    if not ports:
        raise Unavailable(f"Server {SERVER} has no port: delete it and run the lab again")
    fixed = ports[0]["fixed_ips"][0]["ip_address"]
    floating = rest.get("/network/v2.0/floatingips", port_id=ports[0]["id"])["floatingips"]
    if not floating:
        body = {"floatingip": {"floating_network_id": public_id, "port_id": ports[0]["id"]}}
        floating = [rest.post("/network/v2.0/floatingips", body)["floatingip"]]
    return str(found["id"]), str(floating[0]["floating_ip_address"]), str(fixed)


def _active(rest: Rest, server_id: str, say: Say) -> Any:
    deadline = time.monotonic() + _SERVER_S
    shown = ""
    while True:
        found = rest.get(f"/compute/v2.1/servers/{server_id}")["server"]
        state = f"{found['status']} {found.get('OS-EXT-STS:task_state') or ''}".strip()
        if state != shown:
            shown = state
            say(f"server {SERVER}: {state}")
        if found["status"] == "ACTIVE":
            return found
        if found["status"] == "ERROR":
            raise Unavailable(
                f"Server {SERVER} failed: {found.get('fault', {}).get('message', 'no reason given')}"
            )
        if time.monotonic() > deadline:
            raise Unavailable(
                f"Server {SERVER} is still {state} after {_SERVER_S:.0f} s: see `hedgerow status`"
            )
        time.sleep(0.2)


def wait_for_ssh(address: str, user: str, key: Path, timeout_s: float = 120.0) -> None:
    """Wait until the guest runs a command over ssh.

    Raises:
        Unavailable: it does not in time; carries ssh's last words.
    """
    argv = ["ssh", "-i", str(key), *SSH_OPTIONS, f"{user}@{address}", "true"]
    deadline = time.monotonic() + timeout_s
    while True:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            words = done.stderr.strip().splitlines()[-1:]
            raise Unavailable(
                f"The guest at {address} does not answer ssh after {timeout_s:.0f} s: {words}"
            )
        time.sleep(0.2)


SSH_OPTIONS = (
    "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={os.devnull}", "-o", "LogLevel=ERROR",
    "-o", "BatchMode=yes", "-o", "ConnectTimeout=2",
)  # fmt: skip
