"""The body of a login, and the little that is read out of it."""

from typing import Any

import msgspec

from node.sdk import BadRequest, Frozen


class DomainRef(Frozen):
    """A domain by id or name."""

    id: str | None = None
    name: str | None = None


class UserRef(Frozen):
    """A user by id, or by name and domain."""

    id: str | None = None
    name: str | None = None
    domain: DomainRef | None = None


class PasswordUser(UserRef, kw_only=True):
    """A user with a password."""

    password: str


class PasswordMethod(Frozen):
    """Login by password."""

    user: PasswordUser


class TokenMethod(Frozen):
    """Login by a token that one has already."""

    id: str


class ApplicationCredentialMethod(Frozen):
    """Login by an application credential: its id, or its name and user."""

    secret: str
    id: str | None = None
    name: str | None = None
    user: UserRef | None = None


class Identity(Frozen):
    """Who one is: every named method must agree."""

    methods: list[str]
    password: PasswordMethod | None = None
    token: TokenMethod | None = None
    application_credential: ApplicationCredentialMethod | None = None


class ProjectRef(Frozen):
    """A project by id, or by name and domain."""

    id: str | None = None
    name: str | None = None
    domain: DomainRef | None = None


class TrustRef(Frozen):
    """A trust."""

    id: str


class Scope(Frozen):
    """What the token is wanted for."""

    project: ProjectRef | None = None
    domain: DomainRef | None = None
    system: dict[str, Any] | None = None
    trust: TrustRef | None = msgspec.field(default=None, name="OS-TRUST:trust")
    unscoped: dict[str, Any] | None = None


class Auth(Frozen):
    """A login."""

    identity: Identity
    scope: Scope | str | None = None


class AuthBody(Frozen):
    """`{"auth": {...}}`."""

    auth: Auth


def expecting(attribute: str, target: str) -> BadRequest:
    """Return the error of a reference that is not complete."""
    return BadRequest(
        f"Expecting to find {attribute} in {target}. The server could not comply with the request since it is "
        "either malformed or otherwise incorrect. The client is assumed to be in error."
    )
