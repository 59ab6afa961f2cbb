"""Decisions about volume types."""

from node.plugins.block.tables import DEFAULT_TYPE, DefaultType, VolumeType
from node.sdk import BadRequest, Reader


def default_of(db: Reader, project_id: str) -> VolumeType | None:
    """Return the volume type of volumes that name none."""
    chosen = db.get(DefaultType, project_id) if project_id else None
    if chosen is not None and (row := db.get(VolumeType, chosen.type_id)):
        return row
    return db.one(VolumeType, name=DEFAULT_TYPE)


def check_encryption(kind: VolumeType | None) -> None:
    """Refuse a type whose volumes would have to be encrypted: no driver does that yet, and plain ones would be a lie.

    Raises:
        BadRequest: 400.
    """
    if kind is not None and kind.encryption:
        raise BadRequest(
            f"Invalid volume type: {kind.name} asks for encryption, which no backend of this cloud has."
        )


def check_size(kind: VolumeType | None, size_gib: int) -> None:
    """Refuse a size that the volume type does not have.

    Raises:
        BadRequest: 400.
    """
    specs = kind.extra_specs if kind else {}
    bounds = {
        "provisioning:min_vol_size": specs.get("provisioning:min_vol_size", ""),
        "provisioning:max_vol_size": specs.get("provisioning:max_vol_size", ""),
    }
    for name, text in bounds.items():
        if not (text.isascii() and text.isdigit()):
            continue
        bound = int(text[:18])
        if size_gib < bound if "min" in name else size_gib > bound:
            raise BadRequest(
                f"Invalid input received: Specified volume size of '{size_gib}' does not fit"
                f" {name} of '{text}' for volume type"
            )
