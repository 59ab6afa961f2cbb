"""Bodies of projects and domains."""

from typing import Any

from msgspec import UNSET, UnsetType

from node.plugins.identity.bodies import Ident, ShortName, Tags
from node.sdk import Frozen


class ResourceOptions(Frozen, forbid_unknown_fields=True):
    """Options of a project, domain or role."""

    immutable: bool | None | UnsetType = UNSET


class ProjectCreate(Frozen):
    """What may be given for a new project; other attributes are kept as they are."""

    name: ShortName
    domain_id: Ident | None | UnsetType = UNSET
    parent_id: Ident | None | UnsetType = UNSET
    is_domain: bool | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    options: ResourceOptions | UnsetType = UNSET


class ProjectUpdate(Frozen):
    """What may be changed of a project; its place in the tree may not."""

    name: ShortName | UnsetType = UNSET
    domain_id: Any = UNSET
    parent_id: Any = UNSET
    is_domain: Any = UNSET
    enabled: bool | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    options: ResourceOptions | UnsetType = UNSET


class DomainCreate(Frozen):
    """What may be given for a new domain."""

    name: ShortName
    explicit_domain_id: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    options: ResourceOptions | UnsetType = UNSET


class DomainUpdate(Frozen):
    """What may be changed of a domain."""

    name: ShortName | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    options: ResourceOptions | UnsetType = UNSET


class TagsBody(Frozen):
    """`{"tags": [...]}`."""

    tags: Tags
