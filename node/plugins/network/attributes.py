"""Attribute maps: what a resource's body may hold, and the parser that all bodies go through.

A map is data, as Neutron's own are: for each attribute how it is converted, whether it may be given on create and
on update, and its default. The parser words each refusal as Neutron does.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from node.plugins.network import converters as to
from node.plugins.network.policies import POLICIES
from node.sdk import BadRequest, Context, Forbidden, Frozen, NodeError

REQUIRED = msgspec.UNSET


class Wish(Frozen):
    """A parsed body: converted values by attribute name, on create with the defaults."""

    values: dict[str, Any]
    given: frozenset[str]
    """What was given and, on create, differs from its default."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or what is given for one that is not there."""
        return self.values.get(name, default)

    def fields(self, names: Mapping[str, str]) -> dict[str, Any]:
        """Return the values of attributes by the names of their row fields."""
        return {field: self.values[name] for name, field in names.items() if name in self.values}


class Attribute(Frozen):
    """One attribute of a resource."""

    name: str
    convert: to.Convert = to.anything
    post: bool = True
    """May be given on create."""
    put: bool = True
    """May be given on update."""
    default: Any = None
    """Converted value when not given on create; REQUIRED: it must be given; ABSENT: it is left out."""


class _Absent(Frozen):
    pass


ABSENT = _Absent()


class Kind(Frozen):
    """A resource type: its names and attributes."""

    name: str
    """As in bodies and policies: `network`, `security_group`."""
    plural: str
    """As in bodies: `networks`, `security_groups`."""
    attributes: tuple[Attribute, ...]

    @property
    def by_name(self) -> Mapping[str, Attribute]:
        """Return the attributes by name."""
        return {attribute.name: attribute for attribute in self.attributes}


PROJECT = (
    Attribute(name="tenant_id", convert=to.text(255), put=False, default=ABSENT),
    Attribute(name="project_id", convert=to.text(255), put=False, default=ABSENT),
)
NAMED = (
    Attribute(name="name", convert=to.text(255, null=True), default=""),
    Attribute(name="description", convert=to.text(255, null=True), default=""),
)
READ_ONLY = tuple(
    Attribute(name=name, post=False, put=False, default=ABSENT)
    for name in ("id", "created_at", "updated_at", "status", "revision_number")
)
TAGS = (Attribute(name="tags", convert=to.tags, put=False, default=ABSENT),)


def standard(*attributes: Attribute) -> tuple[Attribute, ...]:
    """Return these attributes and those that every named resource has."""
    return (*NAMED, *PROJECT, *READ_ONLY, *TAGS, *attributes)


def parse_create(ctx: Context, kind: Kind) -> tuple[list[Wish], bool]:
    """Return the parsed bodies of a create request, and whether it was a bulk one.

    Each body has `project_id`, the token's where none was given. Only an admin names another project.
    """
    body = _object(ctx.body)
    if kind.plural in body:
        many = body[kind.plural]
        if not isinstance(many, list) or not many:
            raise BadRequest(f"Unable to find '{kind.plural}' in request body")
        entries = [
            entry.get(kind.name, entry) if isinstance(entry, dict) else entry for entry in many
        ]
        return [_create(ctx, kind, entry) for entry in entries], True
    return [_create(ctx, kind, _inner(body, kind.name))], False


def parse_update(ctx: Context, kind: Kind, target: Mapping[str, Any]) -> Wish:
    """Return the parsed body of an update; checks the policies of single attributes against the target."""
    given = _inner(_object(ctx.body), kind.name)
    known = kind.by_name
    _refuse_unknown(given, known)
    parsed: dict[str, Any] = {}
    for name, value in given.items():
        attribute = known[name]
        if not attribute.put:
            raise BadRequest(f"Cannot update read-only attribute {name}")
        parsed[name] = _convert(attribute, value)
    check_attributes(ctx, f"update_{kind.name}", parsed, target)
    return Wish(values=parsed, given=frozenset(parsed))


def check_attributes(
    ctx: Context, action: str, given: Iterable[str], target: Mapping[str, Any]
) -> None:
    """Refuse attributes whose own policy does not hold.

    Raises:
        Forbidden: 403, names the rules.
    """
    for name in given:
        rule = f"{action}:{name}"
        if rule in POLICIES and not ctx.allows(rule, target):
            raise disallowed_attribute(action, rule)


def disallowed_attribute(action: str, rule: str) -> NodeError:
    """Return the 403 that names both rules."""
    return Forbidden(
        f"(rule:{action} and rule:{rule}) is disallowed by policy", type="PolicyNotAuthorized"
    )


def _create(ctx: Context, kind: Kind, given: Any) -> Wish:
    if not isinstance(given, dict):
        raise BadRequest(f"Unable to find '{kind.name}' in request body")
    known = kind.by_name
    _refuse_unknown(given, known)
    parsed: dict[str, Any] = {}
    for name, attribute in known.items():
        if name in given:
            if not attribute.post:
                raise BadRequest(f"Attribute '{name}' not allowed in POST")
            parsed[name] = _convert(attribute, given[name])
        elif attribute.default is REQUIRED:
            raise BadRequest(f"Failed to parse request. Required attribute '{name}' not specified")
        elif attribute.default is not ABSENT:
            parsed[name] = attribute.default
    _set_project(ctx, parsed, kind)
    chosen = frozenset(name for name in given if parsed.get(name, ABSENT) != known[name].default)
    return Wish(values=parsed, given=chosen)


def _set_project(ctx: Context, parsed: dict[str, Any], kind: Kind) -> None:
    wished = parsed.pop("tenant_id", None)
    project_id = parsed.get("project_id", wished)
    if wished is not None and wished != project_id:
        raise BadRequest("'project_id' and 'tenant_id' do not match")
    own = ctx.project_id
    if not project_id:
        if not own and "project_id" in kind.by_name:
            raise BadRequest("Running without keystone AuthN requires that tenant_id is specified")
        project_id = own
    if project_id != own and not ctx.allows(f"create_{kind.name}", {"project_id": project_id}):
        raise BadRequest(
            "Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires "
            "admin privileges"
        )
    parsed["project_id"] = project_id


def _convert(attribute: Attribute, value: Any) -> Any:
    try:
        return attribute.convert(value)
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise BadRequest(f"Invalid input for {attribute.name}. Reason: {reason}.") from error


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict) or not body:
        raise BadRequest("Resource body required")
    return body


def _inner(body: dict[str, Any], name: str) -> dict[str, Any]:
    inner = body.get(name)
    if not isinstance(inner, dict):
        raise BadRequest(f"Unable to find '{name}' in request body")
    return inner


def _refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Attribute]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise BadRequest(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
