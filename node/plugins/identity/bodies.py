"""Types and checks of request bodies.

Keystone keeps attributes that it does not know for most resources, so a body is an object around a free
dictionary: the attributes that we know are converted by a Struct, the rest is kept as `extra`.
"""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta

from node.plugins.identity.faults import sentence
from node.sdk import BadRequest, Frozen

M = TypeVar("M", bound=msgspec.Struct)

Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"[\S]+")]
ShortName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"[\S]+")]
Ident = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9-]+$")]
Text = str | None
Url = Annotated[str, Meta(max_length=225, pattern=r"^[a-zA-Z0-9+.-]+:.+")]
Tag = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^,/]*$")]
Tags = Annotated[list[Tag], Meta(max_length=80)]
Options = dict[str, Any]

_RESERVED = frozenset({"id", "links", "rev", "created_at", "updated_at"})


def parse(kind: str, given: dict[str, Any], model: type[M]) -> tuple[M, dict[str, Any]]:
    """Return the attributes of `given` that the model knows, and the others.

    Raises:
        BadRequest: 400 with JSON schema's sentence about the first mistake.
    """
    known = set(model.__struct_fields__)
    try:
        body = msgspec.convert({key: value for key, value in given.items() if key in known}, model)
    except msgspec.ValidationError as error:
        raise BadRequest(_explain(kind, str(error), given)) from error
    extra = {
        key: value for key, value in given.items() if key not in known and key not in _RESERVED
    }
    return body, extra


def _explain(kind: str, text: str, given: dict[str, Any]) -> str:
    """Name the offending value where it is a plain one, as Keystone does; never a password."""
    message = sentence(text)
    head, colon, tail = message.partition("': ")
    field = head.partition("'")[2]
    value = given.get(field)
    if not colon:
        return f"Invalid input for {kind}: {message}" if "required" not in message else message
    if "password" in field or "secret" in field or not isinstance(value, str | int | bool | None):
        return message
    return f"{head}': {value!r}: {tail}"


def given(value: Any, default: Any = None) -> Any:
    """Return the value, or the default when the client did not send it."""
    return default if value is UNSET else value


def changes(body: msgspec.Struct | msgspec.UnsetType | None) -> dict[str, Any]:
    """Return the attributes that the client sent."""
    if body is None or isinstance(body, msgspec.UnsetType):
        return {}
    return {
        name: getattr(body, name)
        for name in body.__struct_fields__
        if getattr(body, name) is not UNSET
    }


class UserBody(Frozen):
    """`{"user": {...}}`."""

    user: dict[str, Any]


class GroupBody(Frozen):
    """`{"group": {...}}`."""

    group: dict[str, Any]


class ProjectBody(Frozen):
    """`{"project": {...}}`."""

    project: dict[str, Any]


class DomainBody(Frozen):
    """`{"domain": {...}}`."""

    domain: dict[str, Any]


class RoleBody(Frozen):
    """`{"role": {...}}`."""

    role: dict[str, Any]


class RegionBody(Frozen):
    """`{"region": {...}}`."""

    region: dict[str, Any]


class ServiceBody(Frozen):
    """`{"service": {...}}`."""

    service: dict[str, Any]


class EndpointBody(Frozen):
    """`{"endpoint": {...}}`."""

    endpoint: dict[str, Any]


class CredentialBody(Frozen):
    """`{"credential": {...}}`."""

    credential: dict[str, Any]


class PolicyBody(Frozen):
    """`{"policy": {...}}`."""

    policy: dict[str, Any]
