"""Application credentials, access rules, credentials, EC2 keys and trusts."""

from typing import Any

import pytest


def app(world: Any, ident: str, secret: str, scope: Any = None) -> Any:
    """Log in by an application credential."""
    credential = {"id": ident, "secret": secret}
    return world.auth(
        {"methods": ["application_credential"], "application_credential": credential}, scope
    )


def make_credential(caller: Any, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = caller.make(
        f"/users/{caller.user_id}/application_credentials", "application_credential", **fields
    )
    return made


def test_application_credential_life(world: Any) -> None:
    other = world.member("other")
    made = make_credential(other, name="ci", description="d")
    secret = made["secret"]
    path = f"/users/{other.user_id}/application_credentials/{made['id']}"
    shown = other.get(path)["application_credential"]
    assert "secret" not in shown
    assert {role["name"] for role in shown["roles"]} == {"member", "reader"}
    assert shown["unrestricted"] is False
    listed = other.get(f"/users/{other.user_id}/application_credentials?name=ci")
    assert [c["id"] for c in listed["application_credentials"]] == [made["id"]]
    answer = app(world, made["id"], secret)
    assert answer.status == 201
    token = answer.json["token"]
    assert token["methods"] == ["application_credential"]
    assert token["project"]["id"] == other.project_id
    assert token["application_credential"] == {"id": made["id"], "name": "ci", "restricted": True}
    by_name = {"name": "ci", "secret": secret, "user": {"id": other.user_id}}
    identity = {"methods": ["application_credential"], "application_credential": by_name}
    assert world.auth(identity).status == 201
    assert app(world, made["id"], "wrong").status == 401
    assert app(world, made["id"], secret, {"project": {"id": other.project_id}}).status == 401
    other.ask(
        "POST",
        f"/users/{other.user_id}/application_credentials",
        {"application_credential": {"name": "ci"}},
        expect=409,
    )
    alive = answer.headers["x-subject-token"]
    assert world.alive(alive)
    other.ask("DELETE", path, expect=204)
    assert not world.alive(alive)
    assert app(world, made["id"], secret).status == 401
    other.ask("GET", path, expect=404)


def test_a_credentials_token_cannot_grow(world: Any) -> None:
    other = world.member("other", role="manager")
    made = make_credential(other, name="ci", roles=[{"name": "reader"}])
    token = app(world, made["id"], made["secret"]).headers["x-subject-token"]
    again = world.by_token(token)
    assert again.status == 201
    assert [role["name"] for role in again.json["token"]["roles"]] == ["reader"]
    assert world.by_token(token, {"project": {"id": other.project_id}}).status == 201
    for scope in ("unscoped", {"domain": {"id": "default"}}, {"system": {"all": True}}):
        assert world.by_token(token, scope).status == 401
    caller = type(other)(world.cloud, token)
    path = f"/users/{other.user_id}/application_credentials"
    caller.ask("POST", path, {"application_credential": {"name": "x"}}, expect=403)
    caller.ask("DELETE", f"{path}/{made['id']}", expect=403)
    trust = {
        "trustor_user_id": other.user_id,
        "trustee_user_id": other.user_id,
        "impersonation": True,
        "project_id": other.project_id,
        "roles": [{"name": "reader"}],
    }
    caller.ask("POST", "/OS-TRUST/trusts", {"trust": trust}, expect=403)
    key = {"tenant_id": other.project_id}
    caller.ask("POST", f"/users/{other.user_id}/credentials/OS-EC2", key, expect=403)
    blob = {"credential": {"blob": "x", "type": "cert"}}
    caller.ask("POST", "/credentials", blob, expect=403)


def test_a_trusts_token_cannot_outlive_the_trust(world: Any) -> None:
    giver, taker = world.member("giver"), world.member("taker")
    trust = lend(world, giver, taker)
    scope = {"OS-TRUST:trust": {"id": trust["id"]}}
    token = world.by_token(taker.token, scope).headers["x-subject-token"]
    borrowed = type(giver)(world.cloud, token)
    path = f"/users/{giver.user_id}/application_credentials"
    borrowed.ask("POST", path, {"application_credential": {"name": "x"}}, expect=403)
    key = {"tenant_id": giver.project_id}
    borrowed.ask("POST", f"/users/{giver.user_id}/credentials/OS-EC2", key, expect=403)


def test_empty_lists_mean_no_limit_as_the_client_sends_them(world: Any) -> None:
    other = world.member("other")
    made = make_credential(other, name="ci", roles=[], access_rules=[])
    assert {role["name"] for role in made["roles"]} == {"member", "reader"}
    token = app(world, made["id"], made["secret"]).headers["x-subject-token"]
    type(other)(world.cloud, token).ask("GET", "/auth/catalog", expect=200)


def test_credentials_that_are_refused(world: Any) -> None:
    other = world.member("other")
    path = f"/users/{other.user_id}/application_credentials"
    for body in (
        {},
        {"name": ""},
        {"name": "x", "roles": [{"name": "admin"}]},
        {"name": "x", "roles": [{"id": world.roles["admin"]}]},
        {"name": "x", "expires_at": "yesterday"},
        {"name": "x", "expires_at": "2001-01-01T00:00:00"},
        {"name": "x", "unknown": 1},
        {"name": "x", "access_rules": [{"service": "compute"}]},
        {"name": "x", "access_rules": [{"id": "none"}]},
    ):
        other.ask("POST", path, {"application_credential": body}, expect=400)
    world.admin.ask("POST", path, {"application_credential": {"name": "x"}}, expect=403)
    assert other.get(path)["application_credentials"] == []


def test_a_credential_ends_with_its_role_and_time(world: Any) -> None:
    other = world.member("other")
    ends = make_credential(other, name="ends", expires_at="2027-01-15T08:10:00")
    token = app(world, ends["id"], ends["secret"])
    assert token.json["token"]["expires_at"] == "2027-01-15T08:10:00.000000Z"
    made = make_credential(other, name="ci")
    world.cloud.clock.advance(700)
    assert app(world, ends["id"], ends["secret"]).status == 401
    path = f"/projects/{other.project_id}/users/{other.user_id}/roles/{world.roles['member']}"
    world.admin.ask("DELETE", path, expect=204)
    assert app(world, made["id"], made["secret"]).status == 401


def test_access_rules_limit_a_token(world: Any) -> None:
    other = world.member("other")
    rule = {"service": "identity", "path": "/v3/auth/projects", "method": "GET"}
    made = make_credential(other, name="narrow", access_rules=[rule])
    token = app(world, made["id"], made["secret"]).headers["x-subject-token"]
    caller = type(other)(world.cloud, token)
    caller.ask("GET", "/auth/projects", expect=200)
    caller.ask("GET", "/auth/catalog", expect=401)
    caller.ask("GET", f"/users/{other.user_id}", expect=401)
    again = world.by_token(token).headers["x-subject-token"]
    type(other)(world.cloud, again).ask("GET", "/auth/catalog", expect=401)
    rules = other.get(f"/users/{other.user_id}/access_rules")["access_rules"]
    assert [{k: r[k] for k in rule} for r in rules] == [rule]
    path = f"/users/{other.user_id}/access_rules/{rules[0]['id']}"
    assert other.get(path)["access_rule"]["id"] == rules[0]["id"]
    other.ask("DELETE", path, expect=403)
    second = make_credential(other, name="again", access_rules=[{"id": rules[0]["id"]}])
    for ident in (made["id"], second["id"]):
        other.ask("DELETE", f"/users/{other.user_id}/application_credentials/{ident}", expect=204)
    other.ask("DELETE", path, expect=204)
    other.ask("GET", path, expect=404)


def test_credential_blobs(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    made = other.make("/credentials", "credential", blob="seed", type="totp")
    assert made["user_id"] == other.user_id
    path = f"/credentials/{made['id']}"
    assert other.change(path, "credential", blob="sprout")["blob"] == "sprout"
    assert admin.get(path)["credential"]["blob"] == "sprout"
    mine = world.admin.make("/credentials", "credential", blob="x", type="cert")
    assert [c["id"] for c in other.get("/credentials")["credentials"]] == [made["id"]]
    assert len(admin.get("/credentials")["credentials"]) == 2
    assert len(admin.get("/credentials?type=cert")["credentials"]) == 1
    other.ask("GET", f"/credentials/{mine['id']}", expect=403)
    other.ask("DELETE", f"/credentials/{mine['id']}", expect=403)
    foreign = {"credential": {"user_id": mine["user_id"]}}
    other.ask("PATCH", path, foreign, expect=403)
    body = {"credential": {"blob": "x", "type": "cert", "user_id": mine["user_id"]}}
    other.ask("POST", "/credentials", body, expect=403)
    other.ask("POST", "/credentials", {"credential": {"blob": "x", "type": "ec2"}}, expect=400)
    other.ask("DELETE", path, expect=204)
    other.ask("GET", path, expect=403)
    admin.ask("GET", path, expect=404)


def test_ec2_keys(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    path = f"/users/{other.user_id}/credentials/OS-EC2"
    made = other.ask("POST", path, {"tenant_id": other.project_id}, expect=201).json["credential"]
    assert len(made["access"]) == len(made["secret"]) == 32
    one = f"{path}/{made['access']}"
    assert other.get(one)["credential"] == made
    assert other.get(f"/users/{other.user_id}/credentials/OS-EC2")["credentials"] == [made]
    foreign = admin.get("/projects?name=admin")["projects"][0]["id"]
    other.ask("POST", path, {"tenant_id": foreign}, expect=403)
    stranger = world.member("stranger")
    stranger.ask("GET", one, expect=403)
    stranger.ask(
        "GET", f"/users/{stranger.user_id}/credentials/OS-EC2/{made['access']}", expect=404
    )
    other.ask("DELETE", one, expect=204)
    other.ask("GET", one, expect=404)


def lend(world: Any, giver: Any, taker: Any, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = giver.make(
        "/OS-TRUST/trusts",
        "trust",
        **{
            "trustor_user_id": giver.user_id,
            "trustee_user_id": taker.user_id,
            "impersonation": True,
            "project_id": giver.project_id,
            "roles": [{"name": "member"}],
            **fields,
        },
    )
    return made


@pytest.mark.parametrize("impersonation", [True, False])
def test_trust_life(world: Any, impersonation: bool) -> None:
    giver, taker = world.member("giver"), world.member("taker")
    trust = lend(world, giver, taker, impersonation=impersonation)
    path = f"/OS-TRUST/trusts/{trust['id']}"
    assert taker.get(path)["trust"]["roles"][0]["name"] == "member"
    assert [r["name"] for r in giver.get(f"/OS-TRUST/trusts/{trust['id']}/roles")["roles"]] == [
        "member"
    ]
    role = f"/OS-TRUST/trusts/{trust['id']}/roles/{world.roles['member']}"
    assert taker.get(role)["role"]["name"] == "member"
    taker.ask("HEAD", role, expect=200)
    taker.ask("GET", f"{path}/roles/{world.roles['admin']}", expect=404)
    scope = {"OS-TRUST:trust": {"id": trust["id"]}}
    answer = world.by_token(taker.token, scope)
    assert answer.status == 201
    token = answer.json["token"]
    assert token["user"]["id"] == (giver.user_id if impersonation else taker.user_id)
    assert token["project"]["id"] == giver.project_id
    assert token["OS-TRUST:trust"]["id"] == trust["id"]
    text = answer.headers["x-subject-token"]
    assert world.by_token(text).status == 403
    assert world.by_token(giver.token, scope).status == 403
    stranger = world.member("stranger")
    stranger.ask("GET", path, expect=403)
    taker.ask("DELETE", path, expect=403)
    assert world.alive(text)
    giver.ask("DELETE", path, expect=204)
    assert not world.alive(text)
    giver.ask("GET", path, expect=404)


def test_trusts_are_listed_to_their_two_sides(world: Any) -> None:
    giver, taker = world.member("giver"), world.member("taker")
    trust = lend(world, giver, taker)
    path = "/OS-TRUST/trusts"
    by_giver = giver.get(f"{path}?trustor_user_id={giver.user_id}")["trusts"]
    by_taker = taker.get(f"{path}?trustee_user_id={taker.user_id}")["trusts"]
    assert [t["id"] for t in by_giver] == [t["id"] for t in by_taker] == [trust["id"]]
    assert "roles" not in by_giver[0]
    assert len(world.admin.get("/OS-TRUST/trusts")["trusts"]) == 1
    giver.ask("GET", path, expect=403)
    taker.ask("GET", f"{path}?trustor_user_id={giver.user_id}", expect=403)


def test_a_trust_ends_by_time_use_and_lost_roles(world: Any) -> None:
    giver, taker = world.member("giver"), world.member("taker")
    scopes = [
        {"OS-TRUST:trust": {"id": trust["id"]}}
        for trust in (
            lend(world, giver, taker, expires_at="2027-01-15T08:10:00Z"),
            lend(world, giver, taker, remaining_uses=1),
            lend(world, giver, taker),
        )
    ]
    statuses = [world.by_token(taker.token, scope).status for scope in scopes]
    assert statuses == [201, 201, 201]
    world.cloud.clock.advance(700)
    statuses = [world.by_token(taker.token, scope).status for scope in scopes]
    assert statuses == [401, 403, 201]
    path = f"/projects/{giver.project_id}/users/{giver.user_id}/roles/{world.roles['member']}"
    world.admin.ask("DELETE", path, expect=204)
    assert world.by_token(taker.token, scopes[2]).status == 401


def test_trusts_that_are_refused(world: Any) -> None:
    giver, taker = world.member("giver"), world.member("taker")
    full = {
        "trustor_user_id": giver.user_id,
        "trustee_user_id": taker.user_id,
        "impersonation": True,
        "project_id": giver.project_id,
        "roles": [{"name": "member"}],
    }
    for status, change in (
        (403, {"trustor_user_id": taker.user_id}),
        (403, {"roles": [{"name": "admin"}]}),
        (403, {"roles": []}),
        (404, {"roles": [{"name": "none"}]}),
        (404, {"trustee_user_id": "none"}),
        (400, {"impersonation": "perhaps"}),
        (400, {"expires_at": "2001-01-01T00:00:00Z"}),
        (400, {"expires_at": "soon"}),
        (400, {"remaining_uses": 0}),
    ):
        giver.ask("POST", "/OS-TRUST/trusts", {"trust": {**full, **change}}, expect=status)
