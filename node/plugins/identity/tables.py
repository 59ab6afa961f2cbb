"""Rows of the identity service.

Domains are projects with `is_domain`, as in Keystone: one id names both. `extra` holds attributes that clients
invented; Keystone keeps them for most resources.
"""

from typing import Any

from node.plugins.identity.catalog_tables import (
    CatalogService,
    Endpoint,
    EndpointGrant,
    EndpointGroup,
    Limit,
    Region,
    RegisteredLimit,
)
from node.sdk import Frozen, Row, Table


class User(Row, kw_only=True):
    """Somebody who can log in."""

    __table__ = Table(
        name="identity_users", indexes=(("default_project_id",),), unique=(("domain_id", "name"),)
    )

    name: str
    domain_id: str
    enabled: bool = True
    default_project_id: str = ""
    description: str | None = None
    password_hash: str = ""
    """argon2id, in its PHC form; empty: no password was set."""
    password_expires_at: int = 0
    password_history: tuple[str, ...] = ()
    """Earlier hashes, newest first, as many as must not be used again."""
    tokens_valid_from: int = 0
    """Tokens issued before are dead: the password changed or the user was disabled."""
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}


class LoginFailures(Row, kw_only=True):
    """Wrong passwords in a row, kept where locking out is switched on. The id is the user's."""

    __table__ = Table(name="identity_login_failures")

    failures: int


class Project(Row, kw_only=True):
    """A project or, with `is_domain`, a domain."""

    __table__ = Table(
        name="identity_projects",
        indexes=(("parent_id",), ("is_domain",)),
        unique=(("domain_id", "name"),),
    )

    name: str
    domain_id: str = ""
    """Empty for a domain."""
    parent_id: str = ""
    """The domain's id at the top of a tree; empty for a domain."""
    is_domain: bool = False
    enabled: bool = True
    description: str = ""
    tags: tuple[str, ...] = ()
    tokens_valid_from: int = 0
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}


class Group(Row, kw_only=True):
    """Users who get roles together."""

    __table__ = Table(name="identity_groups", unique=(("domain_id", "name"),))

    name: str
    domain_id: str
    description: str = ""
    extra: dict[str, Any] = {}


class Membership(Row, kw_only=True):
    """A user in a group. The id is `group_id:user_id`."""

    __table__ = Table(name="identity_memberships", indexes=(("user_id",), ("group_id",)))

    group_id: str
    user_id: str


class Role(Row, kw_only=True):
    """A name that policies know; with a domain, a name for other roles inside it."""

    __table__ = Table(name="identity_roles", unique=(("domain_id", "name"),))

    name: str
    domain_id: str = ""
    description: str | None = None
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}


class Implication(Row, kw_only=True):
    """Who has the prior role has the implied one. The id is `prior_role_id:implied_role_id`."""

    __table__ = Table(
        name="identity_implications", indexes=(("prior_role_id",), ("implied_role_id",))
    )

    prior_role_id: str
    implied_role_id: str


class Assignment(Row, kw_only=True):
    """A role of a user or group on a project, domain or the system. The id joins all fields."""

    __table__ = Table(
        name="identity_assignments", indexes=(("actor_id",), ("target_id",), ("role_id",))
    )

    actor_kind: str
    """user or group."""
    actor_id: str
    target_kind: str
    """project, domain or system."""
    target_id: str
    """`all` for the system."""
    role_id: str
    inherited: bool = False
    """Holds in the projects below the target, not on the target itself."""


class AccessRule(Frozen):
    """One request that an application credential may make."""

    id: str
    service: str = ""
    path: str = ""
    method: str = ""


class ApplicationCredential(Row, kw_only=True):
    """A secret with some of its user's roles on one project."""

    __table__ = Table(
        name="identity_application_credentials",
        indexes=(("project_id",),),
        unique=(("user_id", "name"),),
    )

    name: str
    user_id: str
    project_id: str
    secret_hash: str
    role_ids: tuple[str, ...]
    description: str | None = None
    unrestricted: bool = False
    expires_at: int = 0
    access_rules: tuple[AccessRule, ...] | None = None
    system: str | None = None


class StoredAccessRule(Row, kw_only=True):
    """An access rule of a user: it outlives the credential that brought it."""

    __table__ = Table(name="identity_access_rules", indexes=(("user_id",),))

    user_id: str
    service: str = ""
    path: str = ""
    method: str = ""


class Credential(Row, kw_only=True):
    """A blob that a user keeps here: EC2 keys (type `ec2`), certificates, TOTP seeds."""

    __table__ = Table(
        name="identity_credentials", indexes=(("user_id",), ("project_id",), ("access",))
    )

    user_id: str
    type: str
    blob: str
    project_id: str = ""
    access: str = ""
    """Of an EC2 key: its public half, by which it is found."""
    trust_id: str = ""
    application_credential_id: str = ""
    extra: dict[str, Any] = {}


class Policy(Row, kw_only=True):
    """A policy blob that clients keep here; nothing of ours reads it."""

    __table__ = Table(name="identity_policies")

    type: str
    blob: str
    extra: dict[str, Any] = {}


class Trust(Row, kw_only=True):
    """Some roles of the trustor on a project, lent to the trustee."""

    __table__ = Table(
        name="identity_trusts",
        indexes=(("trustor_user_id",), ("trustee_user_id",), ("project_id",)),
    )

    trustor_user_id: str
    trustee_user_id: str
    impersonation: bool
    project_id: str = ""
    role_ids: tuple[str, ...] = ()
    expires_at: int = 0
    remaining_uses: int | None = None
    allow_redelegation: bool = False
    redelegation_count: int = 0
    redelegated_trust_id: str = ""
    roles_given: bool = True


class Consumer(Row, kw_only=True):
    """An OAuth 1 consumer."""

    __table__ = Table(name="identity_consumers")

    secret: str
    description: str | None = None
    extra: dict[str, Any] = {}


class FernetKey(Row, kw_only=True):
    """A key that signs and encrypts tokens. Never shown by any API.

    The highest number is the primary, which makes tokens; 0 is the staged one, the next primary; the others only
    check tokens that are still alive.
    """

    __table__ = Table(name="identity_fernet_keys")

    number: int
    key: str


class Revocation(Row, kw_only=True):
    """A token that was revoked. The id is its audit id; pruned once the token would have expired anyway."""

    __table__ = Table(name="identity_revocations", indexes=(("expires_at",),))

    expires_at: int


class DomainConfig(Row, kw_only=True):
    """What is configured for one domain. `id` is the domain's."""

    __table__ = Table(name="domain_configs")

    options: dict[str, dict[str, Any]] = {}
    """Values by group and option."""


ROW_TYPES: tuple[type[Row], ...] = (
    User,
    Project,
    Group,
    Membership,
    Role,
    Implication,
    Assignment,
    Region,
    CatalogService,
    Endpoint,
    EndpointGroup,
    EndpointGrant,
    ApplicationCredential,
    StoredAccessRule,
    Credential,
    Policy,
    Trust,
    RegisteredLimit,
    Limit,
    Consumer,
    FernetKey,
    Revocation,
    LoginFailures,
    DomainConfig,
)
REMEMBERED: tuple[type[Row], ...] = ROW_TYPES[:-2]
"""Those that decide about tokens: a wrong password changes nothing about those."""

DEFAULT_DOMAIN = "default"
SYSTEM = "all"


def assignment_id(actor_id: str, target_id: str, role_id: str, *, inherited: bool = False) -> str:
    """Return the id of an assignment: granting twice is granting once."""
    return f"{actor_id}:{target_id}:{role_id}" + (":inherited" if inherited else "")


def membership_id(group_id: str, user_id: str) -> str:
    """Return the id of a membership."""
    return f"{group_id}:{user_id}"
