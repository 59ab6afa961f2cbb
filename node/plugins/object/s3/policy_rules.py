"""Bucket policies: reading one, and what it says to a request.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from node.plugins.object.s3 import condition_rules
from node.plugins.object.s3.faults import S3Error
from node.sdk import Frozen

MAX_POLICY_BYTES = 20 * 1024
_ACTION = re.compile(r"(?:s3:[\w*?]+|\*)")
_PRINCIPAL = re.compile(r"arn:aws:(?:iam|sts)::([\w-]+):(root|user/.+|assumed-role/.+)|[\w-]{3,64}")
_RESOURCE = "arn:aws:s3:::"
_KNOWN = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)


class Who(Frozen):
    """Who asks, as policies name somebody. All empty: nobody."""

    project_id: str = ""
    user_id: str = ""
    user_name: str = ""


class Statement(Frozen):
    """One statement."""

    allow: bool
    principals: frozenset[str]
    """`*`, projects, and `project/user`."""
    not_principal: bool
    actions: tuple[re.Pattern[str], ...]
    not_action: bool
    resources: tuple[re.Pattern[str], ...]
    not_resource: bool
    conditions: tuple[condition_rules.Condition, ...]

    def concerns(self, who: Who, action: str, resource: str, facts: Mapping[str, Any]) -> bool:
        """Return whether it speaks of this request."""
        if _any(self.actions, action.lower()) == self.not_action:
            return False
        if _any(self.resources, resource) == self.not_resource:
            return False
        if self._names(who) == self.not_principal:
            return False
        return all(condition.holds(facts) for condition in self.conditions)

    def _names(self, who: Who) -> bool:
        if "*" in self.principals:
            return True
        if not who.project_id:
            return False
        ids = {
            who.project_id,
            f"{who.project_id}/{who.user_name}",
            f"{who.project_id}/{who.user_id}",
            who.user_id,
        }
        return bool(ids & self.principals)

    @property
    def is_public(self) -> bool:
        """Return whether it lets strangers in, whatever they are."""
        narrow = any(condition.narrows for condition in self.conditions)
        return self.allow and not narrow and ("*" in self.principals or self.not_principal)


def _any(patterns: Sequence[re.Pattern[str]], text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in patterns)


def _malformed(message: str) -> S3Error:
    return S3Error("MalformedPolicy", message)


def parse(text: str, bucket: str) -> tuple[Statement, ...]:
    """Return the statements of a policy that somebody wants to set.

    Raises:
        S3Error: MalformedPolicy, with what is wrong.
    """
    try:
        policy = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed("Policies must be valid JSON and the first byte must be '{'") from error
    if not isinstance(policy, dict):
        raise _malformed("Policies must be valid JSON and the first byte must be '{'")
    if policy.get("Version", "2008-10-17") not in ("2008-10-17", "2012-10-17"):
        raise _malformed("The policy must contain a valid version string")
    if unknown := set(policy) - {"Version", "Id", "Statement"}:
        raise _malformed(f"Unknown field {min(unknown)}")
    some = policy.get("Statement")
    some = [some] if isinstance(some, dict) else some
    if not isinstance(some, list) or not some:
        raise _malformed("Missing required field Statement")
    return tuple(_statement(one, bucket) for one in some)


@lru_cache(maxsize=256)
def loaded(text: str, bucket: str) -> tuple[Statement, ...]:
    """Return the statements of a policy that was accepted."""
    return parse(text, bucket)


def _statement(one: Any, bucket: str) -> Statement:
    if not isinstance(one, dict) or set(one) - _KNOWN:
        raise _malformed("Unknown field in a statement")
    effect = one.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise _malformed(f"Invalid effect: {effect}")
    action_field = _one_of(one, "Action", "NotAction")
    resource_field = _one_of(one, "Resource", "NotResource")
    principal_field = _one_of(one, "Principal", "NotPrincipal")
    actions = _texts(one[action_field], "Action")
    if not all(_ACTION.fullmatch(action) for action in actions):
        raise _malformed("Policy has invalid action")
    resources = _texts(one[resource_field], "Resource")
    for resource in resources:
        name = resource.removeprefix(_RESOURCE)
        if name == resource or name.partition("/")[0] not in (bucket, "*"):
            raise _malformed("Policy has invalid resource")
    return Statement(
        allow=effect == "Allow",
        principals=frozenset(_principals(one[principal_field])),
        not_principal=principal_field == "NotPrincipal",
        actions=tuple(condition_rules.pattern(action.lower()) for action in actions),
        not_action=action_field == "NotAction",
        resources=tuple(condition_rules.pattern(r) for r in resources),
        not_resource=resource_field == "NotResource",
        conditions=condition_rules.parse(one.get("Condition", {})),
    )


def _one_of(one: Mapping[str, Any], plain: str, negated: str) -> str:
    if (plain in one) == (negated in one):
        raise _malformed(f"Missing required field {plain}")
    return plain if plain in one else negated


def _texts(value: Any, what: str) -> list[str]:
    some = [value] if isinstance(value, str) else value
    if not isinstance(some, list) or not some or not all(isinstance(s, str) for s in some):
        raise _malformed(f"Policy has invalid {what.lower()}")
    return some


def _principals(value: Any) -> list[str]:
    if value == "*":
        return ["*"]
    if not isinstance(value, dict) or not value or set(value) - {"AWS", "CanonicalUser"}:
        raise _malformed("Invalid principal in policy")
    found = []
    for text in (t for some in value.values() for t in _texts(some, "principal")):
        if text == "*":
            found.append("*")
            continue
        match = _PRINCIPAL.fullmatch(text)
        if match is None:
            raise _malformed("Invalid principal in policy")
        project, kind = match.group(1), match.group(2)
        found.append(
            text
            if project is None
            else project
            if kind == "root"
            else f"{project}/{kind.partition('/')[2]}"
        )
    return found


def verdict(
    statements: Sequence[Statement], who: Who, action: str, resource: str, facts: Mapping[str, Any]
) -> str:
    """Return Deny, Allow, or an empty string where the policy does not speak of the request."""
    found = ""
    for statement in statements:
        if statement.concerns(who, action, _RESOURCE + resource, facts):
            if not statement.allow:
                return "Deny"
            found = "Allow"
    return found


def is_public(statements: Sequence[Statement]) -> bool:
    """Return whether a policy opens something to everybody."""
    return any(statement.is_public for statement in statements)
