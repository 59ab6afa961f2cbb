"""Policy rules: oslo.policy's language compiled to closures.

The language is small: `role:x`, `rule:x`, `attribute:%(target.key)s`, `attribute:literal`, `'literal':%(key)s`,
`@` (always), `!` (never), and, or, not, parentheses. An empty rule always holds. A target key that does not
exist makes a check false, and so does an attribute that the caller does not have: an unscoped token matches no target
without a project (oslo.policy would compare the two as the text `None`).

Source: https://docs.openstack.org/oslo.policy/latest/reference/api/oslo_policy.policy.html
"""

import ast
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from node.api.context import Token
from node.errors import ConfigError

Rule = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
"""Called with the caller's credentials and the target."""

_TOKENS = re.compile(r"\(|\)|[^\s()'\"%]*(?:'[^']*'|\"[^\"]*\"|%\([^)]*\)s|[^\s()'\"])*")
_TARGET_KEY = re.compile(r"%\(([^)]*)\)s")


class Policies:
    """All rules of the cloud, by name."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._rules: dict[str, Rule] = {}
        self.sources = dict(sources)
        for name, text in sources.items():
            self._rules[name] = self._compile(name, text)

    def allows(self, rule: str, token: Token, target: Mapping[str, Any]) -> bool:
        """Return whether the rule holds; a rule that does not exist never holds."""
        return self.check(rule, credentials(token), target)

    def check(self, rule: str, creds: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
        """Return whether the rule holds for credentials that are computed already."""
        compiled = self._rules.get(rule)
        return compiled is not None and compiled(creds, target)

    def _compile(self, name: str, text: str) -> Rule:
        words = [word for word in _TOKENS.findall(text.strip()) if word]
        if not words:
            return _always
        try:
            rule, rest = self._either(words)
        except IndexError:
            raise ConfigError(f"Policy {name} ends too early: {text}") from None
        except ConfigError as error:
            raise ConfigError(f"Policy {name}: {error.message}") from error
        if rest:
            raise ConfigError(f"Policy {name} has a mistake at {' '.join(rest)}")
        return rule

    def _either(self, words: list[str]) -> tuple[Rule, list[str]]:
        rules = []
        while True:
            rule, words = self._both(words)
            rules.append(rule)
            if not words or words[0].lower() != "or":
                break
            words = words[1:]
        if len(rules) == 1:
            return rules[0], words
        return (lambda creds, target: any(rule(creds, target) for rule in rules)), words

    def _both(self, words: list[str]) -> tuple[Rule, list[str]]:
        rules = []
        while True:
            rule, words = self._single(words)
            rules.append(rule)
            if not words or words[0].lower() != "and":
                break
            words = words[1:]
        if len(rules) == 1:
            return rules[0], words
        return (lambda creds, target: all(rule(creds, target) for rule in rules)), words

    def _single(self, words: list[str]) -> tuple[Rule, list[str]]:
        word, rest = words[0], words[1:]
        if word.lower() == "not":
            rule, rest = self._single(rest)
            return (lambda creds, target: not rule(creds, target)), rest
        if word == "(":
            rule, rest = self._either(rest)
            if rest[0] != ")":
                raise IndexError
            return rule, rest[1:]
        return self._check(word), rest

    def _check(self, word: str) -> Rule:
        if word == "@":
            return _always
        if word == "!":
            return _never
        kind, colon, match = word.partition(":")
        if not colon:
            raise ConfigError(f"the check {word} has no colon")
        if kind == "rule":
            return lambda creds, target: self.check(match, creds, target)
        if kind == "role":
            wanted = match.lower()
            return lambda creds, _target: wanted in creds["roles"]
        return _attribute(kind, match)


def credentials(token: Token) -> dict[str, Any]:
    """Return what rules may ask of a caller."""
    return {
        "roles": frozenset(role.lower() for role in token.roles),
        "user_id": token.user_id,
        "project_id": token.project_id or None,
        "tenant_id": token.project_id or None,
        "domain_id": token.domain_id or None,
        "user_domain_id": token.user_domain_id,
        "project_domain_id": token.project_domain_id or None,
        "system_scope": "all" if token.system else None,
        "is_admin": token.is_admin,
        "is_admin_project": True,
    }


def _attribute(kind: str, match: str) -> Rule:
    literal: Any = None
    fixed = True
    try:
        literal = ast.literal_eval(kind)
    except (ValueError, SyntaxError):
        fixed = False
    key = _TARGET_KEY.fullmatch(match)

    def check(creds: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
        if key is None:
            right: Any = match
        else:
            right = _lookup(target, key.group(1))
            if right is _MISSING:
                return False
        left = literal if fixed else _lookup(creds, kind)
        if left is _MISSING or (left is None and not fixed):
            return False
        return str(left) == str(right)

    return check


_MISSING = object()


def _lookup(mapping: Mapping[str, Any], key: str) -> Any:
    """Return mapping[key], or follow the dots of the key."""
    if key in mapping:
        return mapping[key]
    value: Any = mapping
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _always(_creds: Mapping[str, Any], _target: Mapping[str, Any]) -> bool:
    return True


def _never(_creds: Mapping[str, Any], _target: Mapping[str, Any]) -> bool:
    return False


def collect(defaults: Iterable[Mapping[str, str]], override_file: str) -> Policies:
    """Join the services' defaults with the operator's file (a JSON object, name to rule).

    Raises:
        ConfigError: names the file or the rule.
    """
    merged: dict[str, str] = {}
    for rules in defaults:
        merged.update(rules)
    if override_file:
        try:
            overrides = json.loads(Path(override_file).read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"Cannot read the policy file {override_file}: {error}") from error
        if not isinstance(overrides, dict) or not all(
            isinstance(v, str) for v in overrides.values()
        ):
            raise ConfigError(f"The policy file {override_file} is not an object of strings")
        unknown = set(overrides) - set(merged)
        if unknown:
            raise ConfigError(
                f"{override_file} has rules that nothing uses: {', '.join(sorted(unknown))}"
            )
        merged.update(overrides)
    return Policies(merged)
