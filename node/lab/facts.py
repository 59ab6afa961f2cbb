"""What the lab tells tools and people: lab.json, clouds.yaml and the closing words."""

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from node.core import identity
from node.ids import RandomIds
from node.lab.place import Choice, Place, write
from node.lab.process import children
from node.lab.provision import FLAVORS, IMAGE, PRIVATE, PUBLIC, SSH_OPTIONS, Made


def write_facts(place: Place, choice: Choice, made: Made, pid: int) -> None:
    """Write lab.json, clouds.yaml and the CA file."""
    shutil.copyfile(place.state / "tls" / "ca.pem", place.ca)
    admin = place.admin_password()
    auth_url = f"https://127.0.0.1:{choice.port}/identity/v3"
    facts: dict[str, Any] = {
        "auth_url": auth_url,
        "auth_url_http": f"http://127.0.0.1:{choice.plain_port}/identity/v3",
        "admin_password": admin,
        "demo_password": made.demo_password,
        "ca_file": str(place.ca),
        "clouds_file": str(place.clouds),
        "config_file": str(place.config),
        "ssh_key": str(place.ssh_key),
        "region": "RegionOne",
        "image": IMAGE,
        "flavors": [name for name, *_sizes in FLAVORS],
        "external_network": PUBLIC,
        "private_network": PRIVATE,
        "public_cidr": choice.public_cidr,
        "server": {
            "id": made.server_id,
            "floating_ip": made.floating_ip,
            "fixed_ip": made.fixed_ip,
        },
        "nodes": [
            {
                "name": os.uname().nodename,
                "id": identity(place.state, RandomIds()).node_id,
                "address": "127.0.0.1",
                "pid": pid,
                "pids": [pid, *children(pid)],
                "state_dir": str(place.state),
            }
        ],
    }
    write(place.facts, msgspec.json.format(msgspec.json.encode(facts)) + b"\n")
    clouds = "clouds:\n" + _cloud("hedgerow", auth_url, "admin", admin, place.ca)
    clouds += _cloud("demo", auth_url, "demo", made.demo_password, place.ca)
    write(place.clouds, clouds.encode())


def _cloud(name: str, auth_url: str, user: str, password: str, ca: Path) -> str:
    quoted = msgspec.json.encode(password).decode()
    return (
        f"  {name}:\n"
        f"    auth:\n"
        f"      auth_url: {auth_url}\n"
        f"      username: {user}\n"
        f"      password: {quoted}\n"
        f"      project_name: {user}\n"
        f"      user_domain_name: Default\n"
        f"      project_domain_name: Default\n"
        f"    region_name: RegionOne\n"
        f"    cacert: {ca}\n"
        f"    identity_api_version: 3\n"
    )


def closing_words(place: Place, made: Made, user: str) -> str:
    """Return how to go on from here."""
    ssh = f"ssh -i {place.ssh_key} {' '.join(SSH_OPTIONS[:4])} {user}@{made.floating_ip}"
    lines = ["", "The cloud runs. Try:"]
    if made.floating_ip:
        lines.append(f"  {ssh}")
    lines += [
        f"  export OS_CLIENT_CONFIG_FILE={place.clouds} OS_CLOUD=hedgerow   # or OS_CLOUD=demo",
        "  openstack server list          # pip install python-openstackclient",
        "",
        f"Facts for tools: {place.facts}    Log: {place.log}",
        "If something fails: hedgerow doctor, then hedgerow status --config " + str(place.config),
    ]
    return "\n".join(lines)
