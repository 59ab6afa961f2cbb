"""Access lists of containers and accounts: cleaning what is given, and asking what is kept.

Source: https://docs.openstack.org/swift/latest/overview_acl.html
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from node.plugins.object.swift.faults import Refusal
from node.sdk import Frozen

_REFERRER = (".r", ".ref", ".referer", ".referrer")
LISTINGS = ".rlistings"
ACCOUNT_LEVELS = ("admin", "read-write", "read-only")


class Acl(Frozen):
    """An access list, taken apart."""

    referrers: tuple[str, ...] = ()
    """Hosts, `*`, `.domain`; a minus in front denies."""
    groups: frozenset[str] = frozenset()
    """`project:user`, roles, `.rlistings`."""

    def welcomes(self, referrer: str) -> bool:
        """Return whether a Referer header opens it; later words overrule earlier ones."""
        host = _host(referrer)
        allowed = False
        for word in self.referrers:
            denies = word.startswith("-")
            wanted = word[1:] if denies else word
            hit = wanted == host or (wanted.startswith(".") and host.endswith(wanted))
            if hit or (wanted == "*" and not denies):
                allowed = not denies
        return allowed


def _host(referrer: str) -> str:
    try:
        return urlsplit(referrer).hostname or "unknown"
    except ValueError:
        return "unknown"


@lru_cache(maxsize=512)
def parse(text: str) -> Acl:
    """Return a kept list, taken apart."""
    referrers, groups = [], []
    for word in filter(None, text.split(",")):
        if word.startswith(".r:"):
            referrers.append(word[3:])
        else:
            groups.append(word)
    return Acl(referrers=tuple(referrers), groups=frozenset(groups))


def clean(header: str, value: str) -> str:
    """Return a list as it is kept.

    Raises:
        Refusal: 400, it cannot be understood, or a write list names referrers.
    """
    words = []
    for raw in value.split(","):
        word = raw.strip()
        if not word:
            continue
        first, colon, second = (part.strip() for part in word.partition(":"))
        if not colon or not first.startswith("."):
            words.append(word)
        elif first in _REFERRER:
            words.append(_referrer(header, word, second))
        else:
            raise Refusal(400, f"Unknown designator {first!r} in ACL: {word!r}")
    return ",".join(words)


def _referrer(header: str, word: str, host: str) -> str:
    if "write" in header.lower():
        raise Refusal(400, f"Referrers not allowed in write ACL: {word!r}")
    denies = host.startswith("-")
    if denies:
        host = host[1:].strip()
    if host != "*" and host.startswith("*"):
        host = host[1:].strip()
    if host in ("", "."):
        raise Refusal(400, f"No host/domain value after referrer designation in ACL: {word!r}")
    return f".r:{'-' if denies else ''}{host}"


def clean_account(value: str) -> str:
    """Return an account's list as it is kept: JSON of who may do what.

    Raises:
        Refusal: 400, it is not of that form.
    """
    if not value:
        return ""
    try:
        given = json.loads(value)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise Refusal(400, "X-Account-Access-Control invalid: Syntax error in JSON")
    for level, names in given.items():
        if level not in ACCOUNT_LEVELS:
            raise Refusal(400, f"X-Account-Access-Control invalid: Key {level!r} not recognized")
        if not isinstance(names, list):
            raise Refusal(
                400, f"X-Account-Access-Control invalid: Value of {level!r} must be a list"
            )
        if not all(isinstance(name, str) for name in names):
            raise Refusal(
                400, f"X-Account-Access-Control invalid: Elements of {level!r} must be strings"
            )
    return json.dumps(given, separators=(",", ":"), sort_keys=True) if given else ""


def account_level(text: str, names: Sequence[str]) -> str:
    """Return the highest right that an account's list gives to somebody with these names, or an empty string."""
    if not text:
        return ""
    given: Mapping[str, Sequence[str]] = json.loads(text)
    for level in ACCOUNT_LEVELS:
        if any(name in given.get(level, ()) for name in names):
            return level
    return ""
