"""Block device mappings: which disks a new server is to have besides, or instead of, its image's.

Source: https://docs.openstack.org/nova/latest/user/block-device-mapping.html
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from node.plugins.compute.checks import boolean, integer, is_uuid
from node.plugins.compute.server_body import Mapping2, NewServer
from node.sdk import BadRequest, Frozen

_INVALID = "Block Device Mapping is Invalid"


class Wanted(Frozen):
    """One volume of a new server."""

    source: str
    """volume, snapshot, image or blank."""
    id: str = ""
    boot_index: int = -1
    size_gib: int = 0
    delete_on_termination: bool = False
    type: str = ""
    tag: str = ""


def wanted(new: NewServer, image_ref: str, version: tuple[int, int]) -> list[Wanted]:
    """Return the volumes that a request asks for, the one to boot from first.

    Raises:
        BadRequest: 400, in Nova's words.
    """
    first = new.block_device_mapping if isinstance(new.block_device_mapping, list) else []
    second = new.block_device_mapping_v2 if isinstance(new.block_device_mapping_v2, list) else []
    if first and second:
        raise BadRequest(
            "Using different block_device_mapping syntaxes is not allowed in the same request."
        )
    found = [_of_first(entry, place, image_ref) for place, entry in enumerate(first)]
    local_root = False
    for entry in second:
        if _is_local_root(entry, image_ref):
            local_root = True
            continue
        found.append(_of_second(entry, version))
    roots = [one for one in found if one.boot_index == 0]
    if len(roots) > 1 or (roots and (local_root or image_ref)):
        raise BadRequest(
            f"{_INVALID}: Boot sequence for the instance and image/block device mapping"
            " combination is not valid."
        )
    if not roots and not image_ref:
        if found:
            raise BadRequest(
                f"{_INVALID}: Boot sequence for the instance and image/block device mapping"
                " combination is not valid."
            )
        raise BadRequest(f"{_INVALID}: You must specify an image: imageRef is empty")
    ids = [one.id for one in found if one.source == "volume"]
    if len(set(ids)) != len(ids):
        raise BadRequest(f"{_INVALID}: a volume is named more than once")
    return sorted(found, key=lambda one: one.boot_index != 0)


def of_image(properties: Mapping[str, str]) -> list[Wanted]:
    """Return the volumes that an image names, which was made of a server with volumes."""
    try:
        entries = json.loads(properties.get("block_device_mapping", "") or "[]")
    except ValueError:
        return []
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or not is_uuid(str(entry.get("snapshot_id", ""))):
            continue
        index = entry.get("boot_index")
        found.append(
            Wanted(
                source="snapshot",
                id=str(entry["snapshot_id"]),
                boot_index=index if isinstance(index, int) else -1,
                size_gib=entry["volume_size"] if isinstance(entry.get("volume_size"), int) else 0,
                delete_on_termination=entry.get("delete_on_termination") is True,
            )
        )
    return sorted(found, key=lambda one: one.boot_index != 0)


def _is_local_root(entry: Mapping2, image_ref: str) -> bool:
    if entry.source_type != "image" or entry.destination_type != "local":
        return False
    if str(entry.boot_index) != "0":
        raise BadRequest(f"{_INVALID}: Mapping image to local is not supported.")
    if image_ref and entry.uuid not in (image_ref, None):
        raise BadRequest(f"{_INVALID}: The image_id of the root device does not match imageRef")
    return True


def _of_first(entry: Mapping[str, Any], place: int, image_ref: str) -> Wanted:
    """Return what an entry of the older form asks for."""
    volume_id, snapshot_id = entry.get("volume_id"), entry.get("snapshot_id")
    ident = volume_id or snapshot_id
    if not ident or not is_uuid(str(ident)):
        raise BadRequest(f"{_INVALID}: a volume or a snapshot must be named by its id")
    goes = entry.get("delete_on_termination", False)
    size = entry.get("volume_size")
    return Wanted(
        source="volume" if volume_id else "snapshot",
        id=str(ident),
        boot_index=0 if place == 0 and not image_ref else -1,
        size_gib=integer(size, "volume_size", 1) if size not in (None, "") else 0,
        delete_on_termination=goes not in (None, "") and boolean(goes, "delete_on_termination"),
    )


def _of_second(entry: Mapping2, version: tuple[int, int]) -> Wanted:
    """Return what an entry of the newer form asks for."""
    if entry.no_device not in (None, False, ""):
        raise BadRequest(f"{_INVALID}: no_device is not supported when a server is created")
    if entry.destination_type != "volume" and entry.source_type != "volume":
        raise BadRequest(
            f"{_INVALID}: further local disks come from the flavor: ephemeral and swap"
        )
    ident = entry.uuid or getattr(entry, f"{entry.source_type}_id", None) or ""
    if entry.source_type != "blank" and not is_uuid(ident):
        raise BadRequest(f"{_INVALID}: Missing or invalid uuid for {entry.source_type}")
    size = entry.volume_size
    size_gib = integer(size, "volume_size", 1) if size not in (None, "") else 0
    if not size_gib and entry.source_type in ("blank", "image"):
        raise BadRequest(
            f"{_INVALID}: Images and blank volumes with destination_type 'volume' need to have a"
            " non-zero size specified"
        )
    if entry.volume_type and version < (2, 67):
        raise BadRequest("Additional properties are not allowed ('volume_type' was unexpected)")
    index = -1
    if entry.boot_index not in (None, ""):
        index = integer(entry.boot_index, "boot_index", -99)
    goes = entry.delete_on_termination
    return Wanted(
        source=entry.source_type,
        id="" if entry.source_type == "blank" else ident,
        boot_index=index,
        size_gib=size_gib,
        delete_on_termination=goes not in (None, "") and boolean(goes, "delete_on_termination"),
        type=entry.volume_type or "",
        tag=entry.tag or "",
    )


def root(found: Sequence[Wanted]) -> Wanted | None:
    """Return the volume to boot from; None: the server has a disk of its own."""
    return next((one for one in found if one.boot_index == 0), None)
