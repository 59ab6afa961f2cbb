"""What an operator does by hand: new token keys, a new password. The commands as such: tests/probe/test_daemon.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.errors import BadRequest, Conflict, NotFound
from node.plugins import identity
from node.plugins.identity.commands import rotate, set_password
from node.plugins.identity.tables import FernetKey, LoginFailures, User
from node.sdk import Operator, insert, patch
from node.state.txn import Outcome, Refused, Txn
from node.testing import Cloud

DOMAIN = {"id": "default"}


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path, [identity])
    yield made
    made.machine.close()


@pytest.fixture
def by(cloud: Cloud) -> Operator:
    return Operator(cloud.config, cloud.proposer, cloud.clock)


def sign_in(cloud: Cloud, password: str) -> str:
    """Return a token; none when it is refused."""
    user = {"name": "admin", "domain": DOMAIN, "password": password}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}},
                     "scope": {"project": {"name": "admin", "domain": DOMAIN}}}}  # fmt: skip
    return str(cloud.post("/identity/v3/auth/tokens", json=body).headers.get("x-subject-token", ""))


def first_password(cloud: Cloud) -> str:
    return (cloud.directory / "secrets" / "admin-password").read_text().strip()


def is_good(cloud: Cloud, token: str) -> bool:
    return cloud.get("/identity/v3/users", token=token).status == 200


def keys(cloud: Cloud) -> list[tuple[int, str]]:
    rows = cloud.db.rows(FernetKey, order_by=(("number", "asc"),))
    return [(row.number, row.key) for row in rows]


def test_a_rotation_keeps_tokens_and_makes_others_with_the_staged_key(
    cloud: Cloud, by: Operator
) -> None:
    token = sign_in(cloud, first_password(cloud))
    (_zero, staged), (_one, primary) = keys(cloud)
    rotate(by, revoke=False)
    assert keys(cloud)[1:] == [(1, primary), (2, staged)]
    assert keys(cloud)[0][1] not in (staged, primary)
    cloud.clock.advance(1)
    assert is_good(cloud, token)
    assert is_good(cloud, sign_in(cloud, first_password(cloud)))


def test_after_a_leak_all_keys_are_replaced_and_every_token_ends(
    cloud: Cloud, by: Operator
) -> None:
    rotate(by, revoke=False)
    token = sign_in(cloud, first_password(cloud))
    before = {key for _number, key in keys(cloud)}
    rotate(by, revoke=True)
    assert len(keys(cloud)) == 2
    assert before.isdisjoint(key for _number, key in keys(cloud))
    cloud.clock.advance(10)
    assert not is_good(cloud, token)
    assert is_good(cloud, sign_in(cloud, first_password(cloud)))
    rotate(by, revoke=False)
    assert [number for number, _key in keys(cloud)] == [0, 2, 3]


def test_a_new_password_ends_the_old_one_locks_and_tokens(cloud: Cloud, by: Operator) -> None:
    token = sign_in(cloud, first_password(cloud))
    admin = cloud.db.one(User, name="admin")
    assert admin is not None
    cloud.commit(
        patch(User, admin.id, enabled=False), insert(LoginFailures(id=admin.id, failures=9))
    )
    set_password(by, "admin", "default", "a new one")
    cloud.clock.advance(10)
    assert not sign_in(cloud, first_password(cloud))
    assert not is_good(cloud, token)
    assert is_good(cloud, sign_in(cloud, "a new one"))
    assert cloud.db.get(LoginFailures, admin.id) is None


def test_what_cannot_be_done_is_said(cloud: Cloud, by: Operator, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nobody"):
        set_password(by, "nobody", "default", "x")
    for password in ("", "a\0b", "x" * 5000):
        with pytest.raises(BadRequest):
            set_password(by, "admin", "default", password)


class Refuser:
    def propose(self, txn: Txn, timeout_s: float = 10.0) -> Outcome:
        return Refused(op=0, reason="rev")


def test_rows_that_always_change_are_given_up(cloud: Cloud) -> None:
    with pytest.raises(Conflict):
        rotate(Operator(cloud.config, Refuser(), cloud.clock), revoke=False)
