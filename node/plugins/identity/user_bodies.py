"""Bodies of users and groups."""

from msgspec import UNSET, UnsetType

from node.plugins.identity.bodies import Ident, Name
from node.sdk import Frozen


class UserOptions(Frozen, forbid_unknown_fields=True):
    """Options of a user; those that are not given stay as they are, null removes one."""

    ignore_change_password_upon_first_use: bool | None | UnsetType = UNSET
    ignore_password_expiry: bool | None | UnsetType = UNSET
    ignore_lockout_failure_attempts: bool | None | UnsetType = UNSET
    ignore_user_inactivity: bool | None | UnsetType = UNSET
    lock_password: bool | None | UnsetType = UNSET
    multi_factor_auth_enabled: bool | None | UnsetType = UNSET
    multi_factor_auth_rules: list[list[str]] | None | UnsetType = UNSET


class UserCreate(Frozen):
    """What may be given for a new user; other attributes are kept as they are."""

    name: Name
    domain_id: Ident | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    default_project_id: Ident | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    password: str | None | UnsetType = UNSET
    options: UserOptions | UnsetType = UNSET


class UserUpdate(Frozen):
    """What may be changed of a user."""

    name: Name | UnsetType = UNSET
    domain_id: Ident | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    default_project_id: Ident | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    password: str | None | UnsetType = UNSET
    original_password: str | UnsetType = UNSET
    options: UserOptions | UnsetType = UNSET


class PasswordChange(Frozen):
    """Both passwords."""

    password: str
    original_password: str


class PasswordBody(Frozen):
    """`{"user": {"password": …, "original_password": …}}`."""

    user: PasswordChange


class GroupCreate(Frozen):
    """What may be given for a new group."""

    name: Name
    domain_id: Ident | UnsetType = UNSET
    description: str | None | UnsetType = UNSET


class GroupUpdate(Frozen):
    """What may be changed of a group."""

    name: Name | UnsetType = UNSET
    domain_id: Ident | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
