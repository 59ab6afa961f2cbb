"""Tokens: logins, scopes, rescoping, looking, and every way in which one dies."""

from typing import Any

import pytest

from node.plugins.identity.token_codec import TokenCodec

PROJECT = {"project": {"name": "admin", "domain": {"id": "default"}}}
ADMIN_PROJECT = {"project": {"name": "admin", "domain": {"name": "Default"}}}


def test_a_project_token_holds_roles_catalog_and_times(world: Any) -> None:
    answer = world.by_password("admin", world.password, ADMIN_PROJECT)
    assert answer.status == 201
    token = answer.json["token"]
    assert token["methods"] == ["password"]
    assert token["user"]["name"] == "admin"
    assert token["user"]["domain"] == {"id": "default", "name": "Default"}
    assert token["project"]["name"] == "admin"
    assert [role["name"] for role in token["roles"]] == ["admin", "manager", "member", "reader"]
    assert len(token["audit_ids"]) == 1
    assert token["issued_at"] < token["expires_at"]
    assert token["expires_at"].endswith(".000000Z")
    (entry,) = token["catalog"]
    assert entry["type"] == "identity"
    assert {e["interface"] for e in entry["endpoints"]} == {"public", "internal", "admin"}
    assert {e["url"] for e in entry["endpoints"]} == {"https://cloud.test/identity"}
    assert answer.headers["vary"] == "X-Auth-Token"


@pytest.mark.parametrize(
    ("scope", "shown"),
    [
        ("unscoped", None),
        ({"unscoped": {}}, None),
        ({"system": {"all": True}}, "system"),
        ({"domain": {"id": "default"}}, "domain"),
        ({"domain": {"name": "Default"}}, "domain"),
        (None, "project"),
    ],
)
def test_scopes(world: Any, scope: Any, shown: str | None) -> None:
    token = world.by_password("admin", world.password, scope).json["token"]
    assert {key for key in ("project", "domain", "system") if key in token} == ({shown} - {None})
    assert ("roles" in token) == ("catalog" in token) == (shown is not None)


def test_nocatalog_leaves_the_catalog_out(world: Any) -> None:
    user = {"id": world.admin.get("/users")["users"][0]["id"], "password": world.password}
    identity = {"methods": ["password"], "password": {"user": user}}
    assert "catalog" not in world.auth(identity, PROJECT, "?nocatalog").json["token"]


@pytest.mark.parametrize(
    ("identity", "status"),
    [
        ({"methods": ["password"]}, 400),
        ({"methods": []}, 400),
        ({"methods": ["dance"]}, 401),
        ({"methods": ["password"], "password": {"user": {"name": "admin", "password": "x"}}}, 400),
        ({"methods": ["password"], "password": {"user": {"id": "none", "password": "x"}}}, 401),
        ({"methods": ["token"], "token": {"id": "gAAAA"}}, 404),
        ({"methods": ["application_credential"], "application_credential": {"secret": "x"}}, 400),
    ],
)
def test_failed_logins(world: Any, identity: Any, status: int) -> None:
    answer = world.auth(identity)
    assert answer.status == status
    assert answer.json["error"]["code"] == status
    if status == 401:
        assert answer.headers["www-authenticate"] == 'Keystone uri="https://cloud.test/identity/v3"'


def test_wrong_and_unknown_look_the_same(world: Any) -> None:
    wrong = world.by_password("admin", "wrong")
    unknown = world.by_password("nobody", "wrong")
    assert (wrong.status, wrong.body) == (unknown.status, unknown.body)
    assert wrong.status == 401


@pytest.mark.parametrize(
    "scope",
    [
        {"project": {"id": "none"}},
        {"project": {"name": "service", "domain": {"id": "default"}}},
        {"domain": {"name": "none"}},
    ],
)
def test_a_scope_without_rights_is_refused(world: Any, scope: Any) -> None:
    assert world.by_password("admin", world.password, scope).status == 401


def test_two_scopes_are_refused(world: Any) -> None:
    scope = {"project": {"id": "x"}, "domain": {"id": "default"}}
    assert world.by_password("admin", world.password, scope).status == 400


def test_rescoping_inherits_end_and_chain(world: Any) -> None:
    first = world.by_password("admin", world.password, "unscoped")
    world.cloud.clock.advance(100)
    second = world.by_token(first.headers["x-subject-token"], PROJECT)
    third = world.by_token(second.headers["x-subject-token"], {"system": {"all": True}})
    one, two, three = (answer.json["token"] for answer in (first, second, third))
    assert one["expires_at"] == two["expires_at"] == three["expires_at"]
    assert two["methods"] == three["methods"] == ["password", "token"]
    assert two["audit_ids"][1] == three["audit_ids"][1] == one["audit_ids"][0]
    assert len({one["audit_ids"][0], two["audit_ids"][0], three["audit_ids"][0]}) == 3


def test_several_methods_must_name_one_user(world: Any) -> None:
    other = world.member("other")
    user = {"name": "admin", "domain": {"id": "default"}, "password": world.password}
    identity = {
        "methods": ["password", "token"],
        "password": {"user": user},
        "token": {"id": other.token},
    }
    assert world.auth(identity).status == 401
    identity["token"] = {"id": world.admin.token}
    answer = world.auth(identity)
    assert answer.status == 201
    assert answer.json["token"]["methods"] == ["password", "token"]


def test_show_check_revoke(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    shown = admin.ask("GET", "/auth/tokens", expect=200, X_Subject_Token=other.token)
    assert shown.headers["x-subject-token"] == other.token
    assert shown.json["token"]["user"]["name"] == "other"
    assert "catalog" in shown.json["token"]
    admin.ask("HEAD", "/auth/tokens", expect=200, X_Subject_Token=other.token)
    other.ask("GET", "/auth/tokens", expect=200, X_Subject_Token=other.token)
    other.ask("GET", "/auth/tokens", expect=403, X_Subject_Token=admin.token)
    other.ask("DELETE", "/auth/tokens", expect=403, X_Subject_Token=admin.token)
    admin.ask("DELETE", "/auth/tokens", expect=204, X_Subject_Token=other.token)
    admin.ask("GET", "/auth/tokens", expect=404, X_Subject_Token=other.token)
    assert not world.alive(other.token)
    assert world.by_token(other.token).status == 404


def test_a_token_ends(world: Any) -> None:
    other = world.member("other")
    world.cloud.clock.advance(3601)
    assert not world.alive(other.token)
    admin = world.login("admin", world.password, project="admin")
    admin.ask("GET", "/auth/tokens", expect=404, X_Subject_Token=other.token)
    admin.ask("GET", "/auth/tokens?allow_expired=1", expect=200, X_Subject_Token=other.token)


def test_a_forged_token_is_refused(world: Any) -> None:
    token = world.admin.token
    middle = len(token) // 2
    forged = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    for text in (forged, token[:-4], token + "A", "x" * 5000, "é", ""):
        assert not world.alive(text)


@pytest.mark.parametrize(
    "deed",
    [
        "disable user", "delete user", "admin sets password", "own password", "disable project",
        "delete project", "revoke role", "delete role", "disable domain",
    ],
)  # fmt: skip
def test_a_token_dies_at_once(world: Any, deed: str) -> None:
    admin = world.admin
    domain = admin.make("/domains", "domain", name="lab")
    project = admin.make("/projects", "project", name="p", domain_id=domain["id"])
    user = admin.make("/users", "user", name="u", domain_id=domain["id"], password="secret-1")
    role = admin.make("/roles", "role", name="special")
    grant = f"/projects/{project['id']}/users/{user['id']}/roles/{role['id']}"
    admin.ask("PUT", grant, expect=204)
    login = world.by_password("u", "secret-1", {"project": {"id": project["id"]}}, domain["id"])
    token = login.headers["x-subject-token"]
    assert world.alive(token)
    user_path, project_path = f"/users/{user['id']}", f"/projects/{project['id']}"
    match deed:
        case "disable user":
            admin.change(user_path, "user", enabled=False)
        case "delete user":
            admin.ask("DELETE", user_path, expect=204)
        case "admin sets password":
            admin.change(user_path, "user", password="secret-2")
        case "own password":
            body = {"user": {"password": "secret-2", "original_password": "secret-1"}}
            admin.ask("POST", f"/users/{user['id']}/password", body, expect=204)
        case "disable project":
            admin.change(project_path, "project", enabled=False)
        case "delete project":
            admin.ask("DELETE", project_path, expect=204)
        case "revoke role":
            admin.ask("DELETE", grant, expect=204)
        case "delete role":
            admin.ask("DELETE", f"/roles/{role['id']}", expect=204)
        case "disable domain":
            admin.change(f"/domains/{domain['id']}", "domain", enabled=False)
    assert not world.alive(token)
    assert world.alive(admin.token)


def test_enabling_again_does_not_revive_tokens(world: Any) -> None:
    other = world.member("other")
    for enabled in (False, True):
        world.admin.change(f"/users/{other.user_id}", "user", enabled=enabled)
    assert not world.alive(other.token)
    assert world.by_password("other", "secret-1").status == 201


def test_changing_the_password_needs_the_present_one(world: Any) -> None:
    other = world.member("other")
    path = f"/users/{other.user_id}/password"
    body = {"user": {"password": "secret-2", "original_password": "wrong"}}
    other.ask("POST", path, body, expect=401)
    body["user"]["original_password"] = "secret-1"
    other.ask("POST", path, body, expect=204)
    assert world.by_password("other", "secret-1").status == 401
    assert world.by_password("other", "secret-2").status == 201


def test_no_answer_or_row_listing_shows_a_secret(world: Any) -> None:
    world.member("other")
    keys = world.cloud.db.rows(_fernet())
    hashes = [row.password_hash for row in world.cloud.db.rows(_user())]
    for path in ("/users", "/projects", "/roles", "/role_assignments", "/credentials", "/groups"):
        text = world.admin.ask("GET", path, expect=200).body.decode()
        assert "argon2" not in text
        assert not any(key.key in text for key in keys)
        assert not any(value in text for value in hashes)


def _fernet() -> Any:
    from node.plugins.identity.tables import FernetKey

    return FernetKey


def _user() -> Any:
    from node.plugins.identity.tables import User

    return User


def test_tokens_survive_a_rotation_of_keys(world: Any) -> None:
    from node.plugins.identity.key_sync import IdentityUpkeep

    upkeep = IdentityUpkeep(world.cloud.control)

    def numbers() -> list[int]:
        return sorted(row.number for row in world.cloud.db.rows(_fernet()))

    world.cloud.reconcile(upkeep)
    assert numbers() == [0, 1]
    staged = {row.number: row.key for row in world.cloud.db.rows(_fernet())}[0]
    world.cloud.clock.advance(86_400)
    old = world.login("admin", world.password, project="admin")
    world.cloud.reconcile(upkeep)
    assert numbers() == [0, 1, 2]
    assert world.alive(old.token)
    new = world.login("admin", world.password, project="admin")
    assert TokenCodec([staged]).open(new.token) is not None
    assert TokenCodec([staged]).open(old.token) is None
    for _ in range(4):
        world.cloud.clock.advance(86_400)
        world.cloud.reconcile(upkeep)
    assert len(numbers()) <= 5
    assert 1 not in numbers()


def test_revocations_are_pruned_when_they_are_useless(world: Any) -> None:
    from node.plugins.identity.key_sync import IdentityUpkeep
    from node.plugins.identity.tables import Revocation

    other = world.member("other")
    world.admin.ask("DELETE", "/auth/tokens", expect=204, X_Subject_Token=other.token)
    upkeep = IdentityUpkeep(world.cloud.control)
    world.cloud.reconcile(upkeep)
    assert world.cloud.db.count(Revocation) == 1
    world.cloud.clock.advance(4 * 86_400)
    world.cloud.reconcile(upkeep)
    assert world.cloud.db.count(Revocation) == 0
