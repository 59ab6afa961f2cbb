"""Our policy engine decides as oslo.policy does, for every rule that oslo.policy can read."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.api.context import Token
from node.api.policy import Policies, collect, credentials
from node.errors import ConfigError

ATTRIBUTES = ("project_id", "user_id", "domain_id", "system_scope", "user_domain_id", "nothing")
KEYS = (*ATTRIBUTES, "target.project_id", "n")
VALUES = ("p1", "p2", "all", "True", "None", "default")

_checks = st.one_of(
    st.sampled_from(("@", "!", "is_admin:True", "is_admin:False", "system_scope:all")),
    st.sampled_from(("admin", "Member", "reader", "none")).map("role:{}".format),
    st.sampled_from(("r1", "r2", "r3", "absent")).map("rule:{}".format),
    st.builds("{}:{}".format, st.sampled_from(ATTRIBUTES), st.sampled_from(VALUES)),
    st.builds("{}:%({})s".format, st.sampled_from(ATTRIBUTES), st.sampled_from(KEYS)),
    st.builds("'{}':%({})s".format, st.sampled_from(VALUES), st.sampled_from(ATTRIBUTES)),
    st.builds("{}:%({})s".format, st.sampled_from(("None", "True", "1")), st.sampled_from(("n", "project_id"))),
)  # fmt: skip


def expressions() -> st.SearchStrategy[str]:
    spaced = st.sampled_from((" ", "  "))
    return st.recursive(
        _checks,
        lambda inner: st.one_of(
            st.builds("{}{}and{}{}".format, inner, spaced, spaced, inner),
            st.builds("{} or {}".format, inner, inner),
            st.builds("({})".format, inner),
            st.builds("( {} )".format, inner),
            _checks.map("not {}".format),
            st.builds("not ({})".format, inner),
        ),
        max_leaves=8,
    )


def acyclic(rules: dict[str, str]) -> dict[str, str]:
    return {
        **rules,
        "r1": rules["r1"].replace("rule:r1", "rule:r2"),
        "r2": rules["r2"].replace("rule:", "role:"),
        "r3": "role:reader",
    }


RULES = st.fixed_dictionaries(
    {"asked": st.one_of(st.just(""), expressions()), "r1": expressions(), "r2": _checks}
).map(acyclic)

TOKENS = st.builds(
    Token,
    user_id=st.sampled_from(("p1", "u")),
    user_name=st.just("n"),
    user_domain_id=st.just("default"),
    user_domain_name=st.just("Default"),
    roles=st.lists(st.sampled_from(("admin", "member", "reader")), max_size=2).map(tuple),
    project_id=st.sampled_from(("", "p1", "p2")),
    domain_id=st.sampled_from(("", "default")),
    system=st.booleans(),
)
TARGETS = st.dictionaries(
    st.sampled_from(KEYS),
    st.one_of(st.sampled_from(VALUES), st.booleans(), st.none(), st.just(1)),
)


class Oracle:
    """oslo.policy with the rules of a test."""

    def __init__(self) -> None:
        from oslo_config import cfg
        from oslo_policy import policy

        conf = cfg.ConfigOpts()
        conf([])
        self._module = policy
        self._enforcer = policy.Enforcer(conf, use_conf=False)

    def allows(self, rules: dict[str, str], creds: dict[str, Any], target: dict[str, Any]) -> bool:
        self._enforcer.set_rules(self._module.Rules.from_dict(rules), use_conf=False)
        return bool(self._enforcer.enforce("asked", target, creds))


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


@settings(deadline=None, max_examples=250)
@given(rules=RULES, token=TOKENS, target=TARGETS)
def test_the_verdict_is_oslo_policys(
    oracle: Oracle, rules: dict[str, str], token: Token, target: dict[str, Any]
) -> None:
    # What the caller does not have is left out: for oslo.policy None is the text `None`, for us it matches nothing.
    creds = {k: v for k, v in credentials(token).items() if v is not None}
    creds["roles"] = list(token.roles)
    ours = Policies(rules).allows("asked", token, target)
    assert ours == oracle.allows(rules, creds, dict(target))


@settings(deadline=None, max_examples=300)
@given(text=st.text(alphabet="ab:%()s'\" !@notrule", max_size=20))
def test_what_cannot_be_read_is_refused_at_the_start(text: str) -> None:
    # oslo.policy turns what it cannot read into "never"; a typing error is found here before the first request.
    try:
        made = Policies({"asked": text})
    except ConfigError as error:
        message = error.message
    else:
        token = Token(user_id="u", user_name="u", user_domain_id="d", user_domain_name="d")
        assert made.allows("asked", token, {}) in (True, False)
        return
    assert "asked" in message


def test_a_rule_that_nobody_wrote_never_holds() -> None:
    token = Token(user_id="u", user_name="u", user_domain_id="d", user_domain_name="d")
    assert not Policies({}).allows("anything", token, {})
    assert not Policies({"asked": "rule:missing"}).allows("asked", token, {})


def test_a_nested_target(tmp_path: Path) -> None:
    token = Token(user_id="u", user_name="u", user_domain_id="d", user_domain_name="d")
    rules = Policies({"asked": "user_id:%(target.user.id)s"})
    assert rules.allows("asked", token, {"target": {"user": {"id": "u"}}})
    assert rules.allows("asked", token, {"target.user.id": "u"})
    assert not rules.allows("asked", token, {"target": {"user": "u"}})


def write(path: Path, content: object) -> str:
    path.write_bytes(content if isinstance(content, bytes) else msgspec.json.encode(content))
    return str(path)


def test_an_override_replaces_a_rule(tmp_path: Path) -> None:
    path = write(tmp_path / "policy.json", {"thing:create": "role:admin"})
    merged = collect([{"thing:create": "role:member"}, {"other": "@"}], path)
    assert merged.sources == {"thing:create": "role:admin", "other": "@"}


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff", ["x"], {"thing:create": 1}, {"thing:unknown": "@"}, {"thing:create": "role"}],
)
def test_a_wrong_override_file_stops_the_start(tmp_path: Path, content: object) -> None:
    with pytest.raises(ConfigError):
        collect([{"thing:create": "@"}], write(tmp_path / "policy.json", content))
    with pytest.raises(ConfigError, match="absent"):
        collect([], str(tmp_path / "absent.json"))
