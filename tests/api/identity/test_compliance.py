"""What an operator may switch on: locking out, no reuse of passwords, passwords that end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.plugins import identity
from node.plugins.identity.tables import LoginFailures
from node.testing.cloud import Cloud
from tests.api.identity.conftest import World

RULES = (
    "lockout_failures = 2\nlockout_s = 60\nunique_last_passwords = 2\npassword_expires_days = 10\n"
)


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[World]:
    text = f"[node]\nstate_dir = {tmp_path}\n[identity]\n{RULES}"
    cloud = Cloud(tmp_path, [identity], config_text=text)
    yield World(cloud)
    cloud.machine.close()


def test_wrong_passwords_lock_out_for_a_while(strict: Any) -> None:
    other = strict.member("other")
    assert [strict.by_password("other", "wrong").status for _ in range(2)] == [401, 401]
    locked = strict.by_password("other", "secret-1")
    assert locked.status == 401
    assert "locked" in locked.json["error"]["message"]
    assert strict.alive(other.token)
    assert strict.by_password("admin", strict.password).status == 201
    body = {"user": {"password": "x", "original_password": "secret-1"}}
    other.ask("POST", f"/users/{other.user_id}/password", body, expect=401)
    strict.cloud.clock.advance(61)
    assert strict.by_password("other", "wrong").status == 401
    assert strict.by_password("other", "secret-1").status == 201
    assert strict.cloud.db.count(LoginFailures) == 0
    assert strict.by_password("nobody", "wrong").status == 401
    assert strict.cloud.db.count(LoginFailures) == 0


def test_an_exempt_user_is_not_locked_out(strict: Any) -> None:
    other = strict.member("other")
    path = f"/users/{other.user_id}"
    strict.admin.change(path, "user", options={"ignore_lockout_failure_attempts": True})
    for _ in range(3):
        assert strict.by_password("other", "wrong").status == 401
    assert strict.by_password("other", "secret-1").status == 201


def test_the_last_passwords_are_not_taken_again(strict: Any) -> None:
    other = strict.member("other")
    path = f"/users/{other.user_id}/password"

    def change(old: str, new: str, status: int) -> None:
        body = {"user": {"password": new, "original_password": old}}
        other.ask("POST", path, body, expect=status)

    change("secret-1", "secret-1", 400)
    change("secret-1", "secret-2", 204)
    change("secret-2", "secret-1", 400)
    change("secret-2", "secret-3", 204)
    change("secret-3", "secret-1", 204)
    strict.admin.change(f"/users/{other.user_id}", "user", password="secret-1")


def test_a_password_ends_and_can_still_be_changed(strict: Any) -> None:
    other = strict.member("other")
    ends = strict.admin.get(f"/users/{other.user_id}")["user"]["password_expires_at"]
    assert ends.startswith("2027-01-25T")
    strict.cloud.clock.advance(10 * 86_400 + 60)
    answer = strict.by_password("other", "secret-1")
    assert answer.status == 401
    assert "expired" in answer.json["error"]["message"]
    body = {"user": {"password": "secret-2", "original_password": "secret-1"}}
    path = f"/identity/v3/users/{other.user_id}/password"
    assert strict.cloud.post(path, json=body).status == 204
    assert strict.by_password("other", "secret-2").status == 201
