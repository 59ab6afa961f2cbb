"""Conditions of bucket policies: operators over what is known of a request.

A fact is a list of texts by its key in lower case; a key that is not there has no value.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from node.plugins.object.s3.faults import S3Error
from node.sdk import Frozen, parse_iso

Facts = Mapping[str, Sequence[str]]
Test = Callable[[str, str], bool]
"""Called with the fact's value and the policy's."""
_FIXED = frozenset(
    {
        "aws:sourceip",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:userid",
        "aws:sourcearn",
        "aws:sourceaccount",
        "aws:principalorgid",
    }
)
"""Facts of which a policy can ask for a fixed value, so that it is not open to everybody."""


@lru_cache(maxsize=1024)
def pattern(text: str) -> re.Pattern[str]:
    """Return what `*` and `?` match."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in text)
    return re.compile("".join(parts), re.DOTALL)


def _number(test: Callable[[float, float], bool]) -> Test:
    return lambda fact, wanted: test(float(fact), float(wanted))


def _moment(text: str) -> float:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else parse_iso(text) / 1_000_000


def _date(test: Callable[[float, float], bool]) -> Test:
    return lambda fact, wanted: test(_moment(fact), _moment(wanted))


def _like(fact: str, wanted: str) -> bool:
    return pattern(wanted).fullmatch(fact) is not None


def _within(fact: str, wanted: str) -> bool:
    return ipaddress.ip_address(fact) in ipaddress.ip_network(wanted, strict=False)


_TESTS: Mapping[str, Test] = {
    "StringEquals": lambda fact, wanted: fact == wanted,
    "StringEqualsIgnoreCase": lambda fact, wanted: fact.lower() == wanted.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "NumericEquals": _number(lambda a, b: a == b),
    "NumericLessThan": _number(lambda a, b: a < b),
    "NumericLessThanEquals": _number(lambda a, b: a <= b),
    "NumericGreaterThan": _number(lambda a, b: a > b),
    "NumericGreaterThanEquals": _number(lambda a, b: a >= b),
    "DateEquals": _date(lambda a, b: a == b),
    "DateLessThan": _date(lambda a, b: a < b),
    "DateLessThanEquals": _date(lambda a, b: a <= b),
    "DateGreaterThan": _date(lambda a, b: a > b),
    "DateGreaterThanEquals": _date(lambda a, b: a >= b),
    "Bool": lambda fact, wanted: fact.lower() == wanted.lower(),
    "IpAddress": _within,
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
}
_CHECKS: Mapping[str, Callable[[str], object]] = {
    "Numeric": float,
    "Date": _moment,
    "IpAddress": lambda text: ipaddress.ip_network(text, strict=False),
    "NotIpAddress": lambda text: ipaddress.ip_network(text, strict=False),
}
"""What a value of the policy must be, by how the operator begins."""


class Condition(Frozen):
    """One operator on one key."""

    operator: str
    """Without set prefix and IfExists, not negated."""
    negated: bool
    if_exists: bool
    sets: str
    """ForAllValues, ForAnyValue or empty."""
    key: str
    values: tuple[str, ...]

    def holds(self, facts: Facts) -> bool:
        """Return whether it holds of a request."""
        found = facts.get(self.key, ())
        if self.operator == "Null":
            return (not found) == (self.values[0].lower() == "true")
        if not found:
            return self.if_exists or self.sets == "ForAllValues" or (self.negated and not self.sets)
        hits = [self._hit(fact) != self.negated for fact in found]
        return all(hits) if self.sets == "ForAllValues" else any(hits)

    def _hit(self, fact: str) -> bool:
        test = _TESTS[self.operator]
        for wanted in self.values:
            try:
                if test(fact, wanted):
                    return True
            except ValueError:  # the request has something that is no number, date or address
                continue
        return False

    @property
    def narrows(self) -> bool:
        """Return whether it keeps a policy from being open to everybody."""
        if self.key not in _FIXED or self.negated or self.operator == "Null" or self.if_exists:
            return False
        if self.operator == "IpAddress":
            return all(ipaddress.ip_network(v, strict=False).prefixlen >= 8 for v in self.values)
        return not any("*" in value or "?" in value for value in self.values)


def _malformed(message: str) -> S3Error:
    return S3Error("MalformedPolicy", message)


def parse(block: Any) -> tuple[Condition, ...]:
    """Return the conditions of a statement.

    Raises:
        S3Error: MalformedPolicy.
    """
    if not isinstance(block, dict):
        raise _malformed("Policy has invalid condition")
    found = []
    for name, keys in block.items():
        if not isinstance(keys, dict):
            raise _malformed("Policy has invalid condition")
        found += [_condition(name, key, value) for key, value in keys.items()]
    return tuple(found)


def _condition(name: str, key: str, value: Any) -> Condition:
    sets, colon, rest = name.partition(":")
    if not colon:
        sets, rest = "", name
    plain = rest.removesuffix("IfExists")
    operator = _NEGATED.get(plain, plain)
    if (operator not in _TESTS and operator != "Null") or sets not in (
        "",
        "ForAllValues",
        "ForAnyValue",
    ):
        raise _malformed(f"Invalid Condition type : {name}")
    if not key.lower().startswith(("aws:", "s3:")):
        raise _malformed("Policy has an invalid condition key")
    values = [_text(v) for v in (value if isinstance(value, list) else [value])]
    if not values:
        raise _malformed("Policy has invalid condition")
    for begins, check in _CHECKS.items():
        if plain.startswith(begins):
            try:
                [check(v) for v in values]
            except ValueError as error:
                raise _malformed(f"Invalid value of {name}") from error
    return Condition(
        operator=operator,
        negated=plain in _NEGATED,
        if_exists=rest != plain,
        sets=sets,
        key=_key(key),
        values=tuple(values),
    )


def _key(key: str) -> str:
    """Return a key as facts have it: what follows a slash is the name of a tag, in its own case."""
    name, slash, tag = key.partition("/")
    return name.lower() + slash + tag


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise _malformed("Policy has invalid condition")
