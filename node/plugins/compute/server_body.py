"""Bodies of requests about servers. Fields of later microversions are all here; `check_version` refuses the early ones.

Source: https://docs.openstack.org/api-ref/compute/#create-server
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from node.plugins.compute.checks import Metadata, Name, Text255
from node.plugins.compute.faults import field_error, unexpected
from node.sdk import BadRequest, Frozen

UserData = Annotated[str, msgspec.Meta(max_length=65535)]
Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=60, pattern=r"^[^,/]*$")]
Tags = Annotated[list[Tag], msgspec.Meta(max_length=50)]
DiskConfig = Literal["AUTO", "MANUAL"]


class Interface(Frozen, forbid_unknown_fields=True):
    """One entry of `networks`."""

    uuid: str | UnsetType | None = UNSET
    port: str | UnsetType | None = UNSET
    fixed_ip: str | UnsetType = UNSET
    tag: Annotated[str, msgspec.Meta(min_length=1, max_length=60)] | UnsetType = UNSET


class GroupName(Frozen):
    """One entry of `security_groups`."""

    name: Text255 = "default"


class File(Frozen, forbid_unknown_fields=True):
    """One entry of `personality`."""

    path: str
    contents: str


class Mapping2(Frozen, forbid_unknown_fields=True):
    """One entry of `block_device_mapping_v2`."""

    source_type: Literal["volume", "image", "snapshot", "blank"] = "blank"
    destination_type: Literal["local", "volume"] = "local"
    uuid: str | None = None
    boot_index: int | str | None = None
    delete_on_termination: bool | str | None = None
    volume_size: int | str | None = None
    device_name: str | None = None
    device_type: str | None = None
    disk_bus: str | None = None
    guest_format: str | None = None
    no_device: bool | str | None = None
    tag: str | None = None
    volume_type: str | None = None
    volume_id: str | None = None
    snapshot_id: str | None = None
    image_id: str | None = None


class NewServer(Frozen, forbid_unknown_fields=True):
    """`server` of a create request."""

    name: Name
    flavorRef: str | int  # noqa: N815 - the API's name
    imageRef: str | UnsetType = UNSET  # noqa: N815
    adminPass: str | UnsetType = UNSET  # noqa: N815
    metadata: Metadata = msgspec.field(default_factory=dict)
    networks: list[Interface] | Literal["auto", "none"] | UnsetType = UNSET
    disk_config: DiskConfig = msgspec.field(default="MANUAL", name="OS-DCF:diskConfig")
    accessIPv4: str = ""  # noqa: N815
    accessIPv6: str = ""  # noqa: N815
    personality: list[File] | UnsetType = UNSET
    availability_zone: Name | UnsetType | None = UNSET
    block_device_mapping: list[dict[str, Any]] | UnsetType = UNSET
    block_device_mapping_v2: list[Mapping2] | UnsetType = UNSET
    config_drive: bool | str | None = None
    key_name: Name | UnsetType | None = UNSET
    min_count: int | str = 1
    max_count: int | str | UnsetType = UNSET
    return_reservation_id: bool | str = False
    security_groups: list[GroupName] | UnsetType = UNSET
    user_data: UserData | UnsetType | None = UNSET
    description: Text255 | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    trusted_image_certificates: list[str] | UnsetType | None = UNSET
    host: Name | UnsetType = UNSET
    hypervisor_hostname: Name | UnsetType = UNSET
    hostname: Annotated[str, msgspec.Meta(min_length=2, max_length=255)] | UnsetType = UNSET


class CreateBody(Frozen, forbid_unknown_fields=True):
    """Body of POST /servers."""

    server: NewServer
    hints: dict[str, Any] | UnsetType | None = msgspec.field(
        default=UNSET, name="os:scheduler_hints"
    )
    old_hints: dict[str, Any] | UnsetType | None = msgspec.field(
        default=UNSET, name="OS-SCH-HNT:scheduler_hints"
    )


class ServerChange(Frozen, forbid_unknown_fields=True):
    """`server` of an update request."""

    name: Name | UnsetType = UNSET
    accessIPv4: str | UnsetType = UNSET  # noqa: N815
    accessIPv6: str | UnsetType = UNSET  # noqa: N815
    disk_config: DiskConfig | UnsetType = msgspec.field(default=UNSET, name="OS-DCF:diskConfig")
    description: Text255 | UnsetType | None = UNSET
    hostname: Annotated[str, msgspec.Meta(min_length=2, max_length=255)] | UnsetType = UNSET


class UpdateBody(Frozen, forbid_unknown_fields=True):
    """Body of PUT /servers/{server_id}."""

    server: ServerChange


_SINCE = {
    "description": (2, 19),
    "tags": (2, 52),
    "trusted_image_certificates": (2, 63),
    "host": (2, 74),
    "hypervisor_hostname": (2, 74),
    "hostname": (2, 90),
}
_UNTIL = {"personality": (2, 56)}


def check_version(body: msgspec.Struct, version: tuple[int, int]) -> None:
    """Refuse fields that the microversion does not have yet, or has no more.

    Raises:
        BadRequest: 400.
    """
    for field in body.__struct_fields__:
        if getattr(body, field) is UNSET:
            continue
        if version < _SINCE.get(field, (2, 0)) or version > _UNTIL.get(field, (9, 9)):
            raise unexpected(field)


def check_networks(new: NewServer, version: tuple[int, int]) -> None:
    """Refuse forms of `networks` that the microversion does not have.

    Raises:
        BadRequest: 400.
    """
    if version < (2, 37) and isinstance(new.networks, str):
        raise field_error("networks", new.networks, f"'{new.networks}' is not of type 'array'")
    if version >= (2, 37) and new.networks is UNSET:
        raise BadRequest(
            "Invalid input for field/attribute server. 'networks' is a required property"
        )
    if isinstance(new.networks, list) and ((2, 36) < version < (2, 42) or version < (2, 32)):
        for interface in new.networks:
            if interface.tag is not UNSET:
                raise unexpected("tag")
