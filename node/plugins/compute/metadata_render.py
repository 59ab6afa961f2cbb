"""The files that a guest configures itself from: pure rendering of a server's rows.

The same tree is served at 169.254.169.254 and written to the config drive.

Source: https://docs.openstack.org/nova/latest/user/metadata.html and
https://opendev.org/openstack/nova-specs (network-info-as-json) for network_data.json
"""

import base64
import ipaddress
import json
from collections.abc import Sequence
from typing import Any

from node.plugins.compute.tables import Server, ServerExtra
from node.sdk import FixedIp, Frozen, PortState

VERSIONS = (
    "2012-08-10",
    "2013-04-04",
    "2013-10-17",
    "2015-10-15",
    "2016-06-30",
    "2016-10-06",
    "2017-02-22",
    "2018-08-27",
    "latest",
)
_EC2_VERSIONS = ("2009-04-04", "latest")
_DOMAIN = "novalocal"


class Facts(Frozen):
    """All that rendering needs of one server."""

    server: Server
    extra: ServerExtra
    ports: Sequence[PortState]
    zone: str
    random_seed: bytes
    """512 random bytes, new for each rendering."""


def service_files(facts: Facts) -> dict[str, bytes]:
    """Return the tree of the metadata service; a key that ends in a slash is the listing of that directory."""
    files = _openstack(facts, _meta_data(facts))
    for version in _EC2_VERSIONS:
        files |= {
            f"{version}/meta-data/{path}": text.encode() for path, text in _ec2(facts).items()
        }
        if facts.extra.user_data:
            files[f"{version}/user-data"] = _user_data(facts.extra)
    return files


def config_drive_files(facts: Facts) -> dict[str, bytes]:
    """Return the tree of the config drive: the service's, injected files and the password besides."""
    meta = _meta_data(facts)
    contents: dict[str, bytes] = {}
    if facts.extra.files:
        meta["files"] = []
        for number, (path, content) in enumerate(facts.extra.files):
            name = f"content/{number:04d}"
            meta["files"].append({"path": path, "content_path": f"/{name}"})
            contents[f"openstack/{name}"] = base64.b64decode("".join(content.split()))
    if facts.extra.admin_password:
        meta["admin_pass"] = facts.extra.admin_password
    files = _openstack(facts, meta) | contents
    for version in _EC2_VERSIONS:
        files[f"ec2/{version}/meta-data.json"] = _json(_nested(_ec2(facts)))
        if facts.extra.user_data:
            files[f"ec2/{version}/user-data"] = _user_data(facts.extra)
    return files


def _openstack(facts: Facts, meta: dict[str, Any]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    network = _json(network_data(facts.ports))
    for version in VERSIONS:
        root = f"openstack/{version}"
        files[f"{root}/meta_data.json"] = _json(_trimmed(meta, version))
        if facts.extra.user_data:
            files[f"{root}/user_data"] = _user_data(facts.extra)
        if version >= "2013-10-17":
            files[f"{root}/vendor_data.json"] = b"{}"
        if version >= "2015-10-15":
            files[f"{root}/network_data.json"] = network
        if version >= "2016-10-06":
            files[f"{root}/vendor_data2.json"] = b"{}"
    return files


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _user_data(extra: ServerExtra) -> bytes:
    return base64.b64decode("".join(extra.user_data.split()))


def _hostname(server: Server) -> str:
    """Return the server's name in the domain, which is appended as Nova does, also to a name that has dots."""
    return f"{server.hostname}.{_DOMAIN}"


def _meta_data(facts: Facts) -> dict[str, Any]:
    server, extra = facts.server, facts.extra
    meta: dict[str, Any] = {
        "uuid": server.id,
        "hostname": _hostname(server),
        "name": server.name,
        "launch_index": server.launch_index,
        "availability_zone": facts.zone,
        "random_seed": base64.b64encode(facts.random_seed).decode(),
        "project_id": server.project_id,
        "devices": _devices(facts.ports),
        "dedicated_cpus": [],
    }
    if server.metadata:
        meta["meta"] = server.metadata
    if extra.public_key:
        meta["public_keys"] = {server.key_name: extra.public_key}
        meta["keys"] = [{"name": server.key_name, "type": extra.key_type, "data": extra.public_key}]
    return meta


_SINCE = {
    "random_seed": "2013-10-17",
    "project_id": "2015-10-15",
    "devices": "2016-06-30",
    "dedicated_cpus": "2018-08-27",
}


def _trimmed(meta: dict[str, Any], version: str) -> dict[str, Any]:
    return {name: value for name, value in meta.items() if version >= _SINCE.get(name, "")}


def _devices(ports: Sequence[PortState]) -> list[dict[str, Any]]:
    """Return the tagged interfaces."""
    return [
        {"type": "nic", "bus": "none", "mac": port.mac, "tags": [port.tag]}
        for port in ports
        if port.tag
    ]


def network_data(ports: Sequence[PortState]) -> dict[str, Any]:
    """Return network_data.json: links, networks, and the name servers of all of them."""
    links: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    services: list[dict[str, str]] = []
    for port in ports:
        link = port.tap or f"tap{port.id[:11]}"
        links.append(
            {
                "id": link,
                "vif_id": port.id,
                "type": "bridge",
                "mtu": port.mtu_bytes or None,
                "ethernet_mac_address": port.mac,
            }
        )
        for ip in port.fixed_ips:
            networks.append(_network(f"network{len(networks)}", link, port.network_id, ip))
            services += [{"type": "dns", "address": address} for address in ip.dns]
    unique = [s for index, s in enumerate(services) if s not in services[:index]]
    return {"links": links, "networks": networks, "services": unique}


def _network(name: str, link: str, network_id: str, ip: FixedIp) -> dict[str, Any]:
    body: dict[str, Any] = {"id": name, "link": link, "network_id": network_id}
    if ip.dhcp:
        return body | {"type": f"ipv{ip.version}_dhcp"}
    routes = [_route(cidr, hop) for cidr, hop in ip.routes]
    if ip.gateway:
        routes.insert(0, _route("0.0.0.0/0" if ip.version == 4 else "::/0", ip.gateway))
    return body | {
        "type": f"ipv{ip.version}",
        "ip_address": ip.address,
        "netmask": str(ipaddress.ip_network(ip.cidr, strict=False).netmask),
        "routes": routes,
        "services": [{"type": "dns", "address": address} for address in ip.dns],
    }


def _route(cidr: str, gateway: str) -> dict[str, str]:
    network = ipaddress.ip_network(cidr, strict=False)
    return {
        "network": str(network.network_address),
        "netmask": str(network.netmask),
        "gateway": gateway,
    }


def _ec2(facts: Facts) -> dict[str, str]:
    """Return EC2's meta-data by path."""
    server = facts.server
    fixed = [ip.address for port in facts.ports for ip in port.fixed_ips if ip.version == 4]
    floating = [ip for port in facts.ports for ip in port.floating_ips]
    groups = dict.fromkeys(name for port in facts.ports for name in port.security_groups)
    hostname = _hostname(server)
    files = {
        "ami-id": f"ami-{server.image_id[:8]}" if server.image_id else "",
        "ami-launch-index": str(server.launch_index),
        "ami-manifest-path": "unknown",
        "block-device-mapping/ami": server.root_device.rpartition("/")[2],
        "block-device-mapping/root": server.root_device,
        "hostname": hostname,
        "instance-action": "none",
        "instance-id": f"i-{server.id[:8]}",
        "instance-type": server.flavor.name if server.flavor else "",
        "local-hostname": hostname,
        "local-ipv4": fixed[0] if fixed else "",
        "placement/availability-zone": facts.zone,
        "public-hostname": hostname,
        "public-ipv4": floating[0] if floating else "",
        "reservation-id": server.reservation_id,
        "security-groups": "\n".join(groups),
    }
    if facts.extra.public_key:
        files["public-keys/"] = f"0={server.key_name}"
        files["public-keys/0/openssh-key"] = facts.extra.public_key
    return files


def _nested(flat: dict[str, str]) -> dict[str, Any]:
    """Return paths as nested objects."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        if path.endswith("/"):
            continue
        *parents, leaf = path.split("/")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return tree
