"""What a create request must satisfy before anything is placed: pure decisions over the body and facts of others.

Source: https://docs.openstack.org/api-ref/compute/#create-server
"""

import base64
import binascii
import ipaddress
import re
import secrets
import string
from collections.abc import Mapping, Sequence
from typing import Any

from node.plugins.compute.checks import is_uuid
from node.plugins.compute.faults import field_error
from node.plugins.compute.server_body import File, Interface
from node.plugins.compute.tables import Flavor
from node.sdk import BadRequest, Forbidden, ImageFacts, PortWish

_PASSWORD_SYMBOLS = string.ascii_letters.translate(str.maketrans("", "", "IOilo")) + "23456789"
_HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?")


def new_password() -> str:
    """Return a random administrator password of 12 signs."""
    return "".join(secrets.choice(_PASSWORD_SYMBOLS) for _ in range(12))


def hostname_of(name: str, server_id: str) -> str:
    """Return the host name that a server's display name is made to."""
    text = re.sub(r"[ _.]", "-", name.encode("latin-1", "ignore").decode("latin-1"))
    text = re.sub(r"[^a-zA-Z0-9-]", "", text).lower().strip(".-")[:63].rstrip("-")
    return text or f"server-{server_id}"


def check_hostname(text: str, version: tuple[int, int]) -> str:
    """Return a host name as it was asked for (from 2.94 on it may be fully qualified).

    Raises:
        BadRequest: 400.
    """
    labels = text.split(".") if version >= (2, 94) else [text]
    if any(not _HOSTNAME.fullmatch(label) or len(label) > 63 for label in labels):
        raise field_error("hostname", text, "It is no valid host name")
    return text


def address(text: str, field: str, version: int) -> str:
    """Return an access address; empty is none.

    Raises:
        BadRequest: 400.
    """
    if not text:
        return ""
    try:
        if version == 4:
            return str(ipaddress.IPv4Address(text))
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise field_error(field, text, f"'{text}' is not an 'ipv{version}'") from None


def user_data(text: str | None) -> str:
    """Return user data as it came, in base64.

    Raises:
        BadRequest: 400, not base64.
    """
    try:
        base64.b64decode("".join((text or "").split()), validate=True)
    except (binascii.Error, ValueError):
        raise field_error("user_data", (text or "")[:80], "It is not 'base64'") from None
    return text or ""


def files(personality: Sequence[File], limits: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the files to inject.

    Raises:
        BadRequest: 400, contents that are not base64.
        Forbidden: 403, over quota.
    """

    def over(name: str, used: int) -> bool:
        return 0 <= limits[name] < used

    if over("injected_files", len(personality)):
        raise Forbidden("Personality file limit exceeded")
    for file in personality:
        try:
            size_bytes = len(base64.b64decode("".join(file.contents.split()), validate=True))
        except (binascii.Error, ValueError):
            raise BadRequest(f"Personality content for {file.path} cannot be decoded") from None
        if over("injected_file_content_bytes", size_bytes):
            raise Forbidden("Personality file content too long")
        if over("injected_file_path_bytes", len(file.path.encode())):
            raise Forbidden("Personality file path too long")
    return [(file.path, file.contents) for file in personality]


def check_metadata_quota(metadata: Mapping[str, str], limits: Mapping[str, int]) -> None:
    """Refuse more metadata items than the quota allows.

    Raises:
        Forbidden: 403.
    """
    limit = limits["metadata_items"]
    if 0 <= limit < len(metadata):
        raise Forbidden(f"Maximum number of metadata items exceeds {limit}")


def check_image(
    image_id: str, facts: ImageFacts | None, flavor: Flavor, *, project_id: str, is_admin: bool
) -> ImageFacts:
    """Return the facts of an image that the caller may boot with this flavor.

    Raises:
        BadRequest: 400, in Nova's words.
    """
    if facts is None or not _may_use(facts, project_id, is_admin=is_admin):
        raise BadRequest("Can not find requested image")
    if facts.status != "active":
        raise BadRequest(f"Image {image_id} is not active.")
    if flavor.memory_mib < facts.min_ram_mib:
        raise BadRequest("Flavor's memory is too small for requested image.")
    disk_bytes = flavor.disk_gib * 2**30
    if flavor.disk_gib:
        size_bytes = max(facts.size_bytes, facts.virtual_size_bytes)
        if size_bytes > disk_bytes:
            raise BadRequest(
                "Flavor's disk is too small for requested image."
                f" Flavor disk is {disk_bytes} bytes, image is {size_bytes} bytes."
            )
        if facts.min_disk_gib > flavor.disk_gib:
            raise BadRequest(
                "Flavor's disk is smaller than the minimum size specified in image metadata."
                f" Flavor disk is {disk_bytes} bytes, minimum size is {facts.min_disk_gib * 2**30} bytes."
            )
    return facts


def _may_use(facts: ImageFacts, project_id: str, *, is_admin: bool) -> bool:
    members: Sequence[str] = getattr(facts, "members", ())
    return (
        is_admin
        or facts.project_id == project_id
        or facts.visibility in {"public", "community"}
        or (facts.visibility == "shared" and project_id in members)
    )


def wishes(networks: Any) -> tuple[PortWish, ...] | None:
    """Return the interfaces that `networks` asks for; None is automatic.

    Raises:
        BadRequest: 400.
    """
    if networks == "none":
        return ()
    if not isinstance(networks, list) or not networks:
        return None
    found = [_wish(interface) for interface in networks]
    ports = [wish.port_id for wish in found if wish.port_id]
    if len(set(ports)) != len(ports):
        raise BadRequest("Port id given more than once in networks")
    return tuple(found)


def _wish(interface: Interface) -> PortWish:
    tag = interface.tag if isinstance(interface.tag, str) else ""
    fixed_ip = interface.fixed_ip if isinstance(interface.fixed_ip, str) else ""
    if fixed_ip:
        try:
            fixed_ip = str(ipaddress.ip_address(fixed_ip))
        except ValueError:
            raise BadRequest(f"Invalid fixed IP address ({fixed_ip})") from None
    if isinstance(interface.port, str):
        if not is_uuid(interface.port):
            raise field_error("port", interface.port, f"'{interface.port}' is not a 'uuid'")
        if fixed_ip:
            raise BadRequest(
                f"Specified Fixed IP '{fixed_ip}' cannot be used with port '{interface.port}':"
                " the two cannot be specified together."
            )
        return PortWish(port_id=interface.port, tag=tag)
    if not isinstance(interface.uuid, str) or not is_uuid(interface.uuid):
        raise BadRequest(
            f"Bad networks format: network uuid is not in proper format ({interface.uuid or None})"
        )
    return PortWish(network_id=interface.uuid, fixed_ip=fixed_ip, tag=tag)


def hints_of(raw: Any) -> dict[str, list[str]]:
    """Return scheduler hints in one form: lists of texts.

    Raises:
        BadRequest: 400.
    """
    if not isinstance(raw, dict):
        return {}
    hints = {
        name: [str(v) for v in value] if isinstance(value, list) else [str(value)]
        for name, value in raw.items()
    }
    for name in ("group", "same_host", "different_host"):
        for value in hints.get(name, []):
            if not is_uuid(value):
                raise field_error(name, value, f"'{value}' is not a 'uuid'")
    return hints
