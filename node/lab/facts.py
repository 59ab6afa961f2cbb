"""What the lab tells tools and people: lab.json, clouds.yaml and the closing words."""

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from node.core import identity
from node.ids import RandomIds
from node.lab.cluster import ClusterLab
from node.lab.place import Choice, Place, write
from node.lab.process import children, everyone, running_pid, state
from node.lab.provision import FLAVORS, IMAGE, PRIVATE, PUBLIC, SSH_OPTIONS, Made


def write_facts(place: Place, choice: Choice, made: Made, pid: int) -> None:
    """Write lab.json, clouds.yaml and the CA file of a lab of one node."""
    shutil.copyfile(place.state / "tls" / "ca.pem", place.ca)
    admin = place.admin_password()
    auth_url = f"https://127.0.0.1:{choice.port}/identity/v3"
    urls = (auth_url, f"http://127.0.0.1:{choice.plain_port}/identity/v3")
    facts = _facts(place, choice, made, urls, admin)
    facts["config_file"] = str(place.config)
    facts["nodes"] = [
        {
            "name": os.uname().nodename,
            "id": identity(place.state, RandomIds()).node_id,
            "address": "127.0.0.1",
            "pid": pid,
            "pids": [pid, *children(pid)],
            "state_dir": str(place.state),
        }
    ]
    _write(place, facts, {"hedgerow": ("admin", auth_url), "demo": ("demo", auth_url)})


def write_cluster_facts(lab: ClusterLab, made: Made) -> None:
    """Write lab.json, clouds.yaml and the CA file of a lab of several nodes."""
    place, choice = lab.place, lab.choice
    shutil.copyfile(place.node(lab.names[0]).state / "tls" / "ca.pem", place.ca)
    urls = {name: f"https://{lab.address(name)}:{choice.port}/identity/v3" for name in lab.names}
    entrance = lab.entrance()
    auth_url = f"https://{entrance}:{choice.port}/identity/v3"
    plain = f"http://{entrance}:{choice.plain_port}/identity/v3"
    facts = _facts(place, choice, made, (auth_url, plain), lab.password())
    facts["config_file"] = str(place.node(lab.names[0]).config)
    facts["under_cidr"] = choice.under_cidr
    facts["nodes"] = node_facts(lab)
    clouds = {"hedgerow": ("admin", auth_url), "demo": ("demo", auth_url)}
    clouds |= {name: ("admin", url) for name, url in urls.items()}
    _write(place, facts, clouds)


def refresh(lab: ClusterLab) -> None:
    """Bring the nodes of lab.json up to date; what else it says stays."""
    if lab.place.facts.exists():
        facts = msgspec.json.decode(lab.place.facts.read_bytes())
        _write_json(lab.place, {**facts, "nodes": node_facts(lab)})


def node_facts(lab: ClusterLab) -> list[dict[str, Any]]:
    """Return what lab.json says of each node."""
    found = []
    for name in lab.names:
        place = lab.place.node(name)
        known = (place.state / "identity.json").exists()
        found.append(
            {
                "name": name,
                "id": identity(place.state, RandomIds()).node_id if known else "",
                "address": lab.address(name),
                "api": f"https://{lab.address(name)}:{lab.choice.port}",
                "state": state(place),
                "pid": running_pid(place) or 0,
                "pids": everyone(place),
                "namespace": lab.topology.netns(name),
                "namespace_pid": lab.topology.machine(name).pid,
                "state_dir": str(place.state),
                "config_file": str(place.config),
                "log_file": str(place.log),
            }
        )
    return found


def _facts(
    place: Place, choice: Choice, made: Made, urls: tuple[str, str], admin: str
) -> dict[str, Any]:
    return {
        "auth_url": urls[0],
        "auth_url_http": urls[1],
        "admin_password": admin,
        "demo_password": made.demo_password,
        "ca_file": str(place.ca),
        "clouds_file": str(place.clouds),
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
    }


def _write(place: Place, facts: dict[str, Any], clouds: dict[str, tuple[str, str]]) -> None:
    _write_json(place, facts)
    passwords = {"admin": facts["admin_password"], "demo": facts["demo_password"]}
    text = "clouds:\n"
    for cloud, (user, auth_url) in clouds.items():
        text += _cloud(cloud, auth_url, user, passwords[user], place.ca)
    write(place.clouds, text.encode())


def _write_json(place: Place, facts: dict[str, Any]) -> None:
    write(place.facts, msgspec.json.format(msgspec.json.encode(facts)) + b"\n")


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


def closing_words(place: Place, made: Made, user: str, lab: ClusterLab | None = None) -> str:
    """Return how to go on from here."""
    ssh = f"ssh -i {place.ssh_key} {' '.join(SSH_OPTIONS[:4])} {user}@{made.floating_ip}"
    lines = ["", "The cloud runs. Try:"]
    if made.floating_ip:
        lines.append(f"  {ssh}")
    clouds = (
        "OS_CLOUD=demo" if lab is None else f"OS_CLOUD=demo, or through one node: {lab.names[0]}"
    )
    lines += [
        f"  export OS_CLIENT_CONFIG_FILE={place.clouds} OS_CLOUD=hedgerow   # or {clouds}",
        "  openstack server list          # pip install python-openstackclient",
    ]
    config = place.config
    if lab is not None:
        config = place.node(lab.names[0]).config
        lines += [
            f"  hedgerow lab --dir {place.directory} shell {lab.names[0]} hedgerow status",
            f"  hedgerow lab --dir {place.directory} kill {lab.names[0]}     # then: start {lab.names[0]}",
        ]
    log = place.log if lab is None else place.directory / "nodes" / "*" / place.log.name
    lines += [
        "",
        f"Facts for tools: {place.facts}    Log: {log}",
        f"If something fails: hedgerow doctor, then hedgerow status --config {config}",
    ]
    return "\n".join(lines)
