"""Users, groups and their members; who may see them."""

from typing import Any


def test_user_life(admin: Any) -> None:
    user = admin.make(
        "/users", "user", name="u1", password="p", email="u1@x.org", description="d", enabled=True
    )
    assert len(user["id"]) == 32
    assert user["domain_id"] == "default"
    assert user["email"] == "u1@x.org"
    assert user["password_expires_at"] is None
    assert "password" not in user
    assert user["links"]["self"].endswith(f"/v3/users/{user['id']}")
    path = f"/users/{user['id']}"
    assert admin.get(path)["user"] == user
    changed = admin.change(path, "user", name="u2", email="u2@x.org", enabled=False)
    assert (changed["name"], changed["email"], changed["enabled"]) == ("u2", "u2@x.org", False)
    assert changed["description"] == "d"
    assert admin.get(path)["user"] == changed
    admin.ask("DELETE", path, expect=204)
    answer = admin.ask("GET", path, expect=404)
    assert answer.json["error"] == {
        "code": 404,
        "title": "Not Found",
        "message": f"Could not find user: {user['id']}.",
    }


def test_user_bodies_that_are_refused(admin: Any) -> None:
    def refused(status: int = 400, **user: Any) -> str:
        answer = admin.ask("POST", "/users", {"user": user}, expect=status)
        message: str = answer.json["error"]["message"]
        return message

    assert refused() == "'name' is a required property"
    assert "'name'" in refused(name="")
    assert "'name'" in refused(name="x" * 256)
    assert "'enabled'" in refused(name="u", enabled="maybe")
    assert "geheim" not in refused(name="u", password=["geheim"])
    refused(404, name="u", domain_id="none")
    refused(404, name="u", default_project_id="none")
    refused(name="u", default_project_id="default")
    refused(name="u", options={"unknown": True})
    refused(409, name="admin")
    admin.ask("POST", "/users", {}, expect=400)
    admin.ask("POST", "/users", {"user": []}, expect=400)


def test_lists_are_filtered_and_paged(admin: Any) -> None:
    for name in ("ann", "anton", "bea"):
        admin.make("/users", "user", name=name, enabled=name != "bea")

    def names(query: str) -> list[str]:
        return [user["name"] for user in admin.get(f"/users?{query}")["users"]]

    assert names("name=ann") == ["ann"]
    assert names("name__startswith=an") == ["ann", "anton"]
    assert names("name__icontains=NT") == ["anton"]
    assert names("enabled=false") == ["bea"]
    assert names("domain_id=none") == []
    assert names("unknown=1") == ["admin", "ann", "anton", "bea"]
    first = admin.get("/users?limit=2")
    assert [user["name"] for user in first["users"]] == ["admin", "ann"]
    assert first["links"]["next"].endswith(f"limit=2&marker={first['users'][1]['id']}")
    assert names(first["links"]["next"].partition("?")[2]) == ["anton", "bea"]
    admin.ask("GET", "/users?limit=x", expect=400)
    admin.ask("GET", "/users?marker=none", expect=400)


def test_a_member_sees_only_himself(world: Any) -> None:
    other, admin_id = world.member("other"), world.admin.get("/users?name=admin")["users"][0]["id"]
    assert other.get(f"/users/{other.user_id}")["user"]["name"] == "other"
    answer = other.ask("GET", "/users", expect=403)
    assert answer.json["error"]["message"] == (
        "You are not authorized to perform the requested action: identity:list_users."
    )
    other.ask("GET", f"/users/{admin_id}", expect=403)
    other.ask("GET", f"/users/{admin_id}/projects", expect=403)
    other.ask("GET", "/users/none", expect=403)
    other.ask("PATCH", f"/users/{other.user_id}", {"user": {"enabled": True}}, expect=403)
    other.ask("DELETE", f"/users/{other.user_id}", expect=403)
    other.ask("POST", "/users", {"user": {"name": "x"}}, expect=403)
    mine = other.get(f"/users/{other.user_id}/projects")["projects"]
    assert [project["id"] for project in mine] == [other.project_id]
    assert other.get(f"/users/{other.user_id}/groups")["groups"] == []


def test_a_domains_manager_rules_the_domain_and_nothing_else(world: Any) -> None:
    admin = world.admin
    domain = admin.make("/domains", "domain", name="lab")
    boss = admin.make("/users", "user", name="boss", domain_id=domain["id"], password="secret-1")
    world.grant(f"/domains/{domain['id']}/users/{boss['id']}", "manager")
    scope = {"domain": {"id": domain["id"]}}
    login = world.by_password("boss", "secret-1", scope, domain["id"])
    manager = type(admin)(world.cloud, login.headers["x-subject-token"])
    user = manager.make("/users", "user", name="worker")
    assert user["domain_id"] == domain["id"]
    project = manager.make("/projects", "project", name="work")
    assert (project["domain_id"], project["parent_id"]) == (domain["id"], domain["id"])
    place = f"/projects/{project['id']}/users/{user['id']}/roles"
    manager.ask("PUT", f"{place}/{world.roles['member']}", expect=204)
    manager.ask("PUT", f"{place}/{world.roles['admin']}", expect=403)
    assert {u["name"] for u in manager.get("/users")["users"]} == {"boss", "worker"}
    assert [p["name"] for p in manager.get("/projects")["projects"]] == ["work"]
    manager.ask("POST", "/users", {"user": {"name": "x", "domain_id": "default"}}, expect=403)
    admin_id = admin.get("/users?name=admin")["users"][0]["id"]
    manager.ask("DELETE", f"/users/{admin_id}", expect=403)
    manager.ask("PATCH", f"/users/{admin_id}", {"user": {"password": "mine"}}, expect=403)
    manager.ask("POST", "/domains", {"domain": {"name": "x"}}, expect=403)
    foreign = admin.get("/projects?name=admin")["projects"][0]["id"]
    manager.ask("POST", "/projects", {"project": {"name": "x", "parent_id": foreign}}, expect=403)
    manager.ask("POST", "/projects", {"project": {"name": "x", "parent_id": []}}, expect=400)
    manager.ask("POST", "/projects", {"project": {"name": "x", "is_domain": True}}, expect=403)


def test_a_reader_of_the_system_sees_and_changes_nothing(world: Any) -> None:
    user = world.admin.make("/users", "user", name="eye", password="secret-1")
    world.grant(f"/system/users/{user['id']}", "reader")
    eye = world.login("eye", "secret-1", scope={"system": {"all": True}})
    assert len(eye.get("/users")["users"]) == 2
    assert eye.get("/role_assignments")["role_assignments"]
    eye.ask("POST", "/users", {"user": {"name": "x"}}, expect=403)
    eye.ask("DELETE", f"/users/{user['id']}", expect=403)


def test_groups_and_members(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    group = admin.make("/groups", "group", name="g", description="d")
    path = f"/groups/{group['id']}"
    member = f"{path}/users/{other.user_id}"
    admin.ask("HEAD", member, expect=404)
    for _ in range(2):
        admin.ask("PUT", member, expect=204)
    admin.ask("HEAD", member, expect=204)
    admin.ask("GET", f"/groups/{group['id']}/users/{other.user_id}", expect=204)
    assert [u["id"] for u in admin.get(f"/groups/{group['id']}/users")["users"]] == [other.user_id]
    assert [g["id"] for g in other.get(f"/users/{other.user_id}/groups")["groups"]] == [group["id"]]
    assert [g["id"] for g in admin.get("/groups?name=g")["groups"]] == [group["id"]]
    assert admin.change(path, "group", description="e")["description"] == "e"
    assert admin.get(path)["group"]["description"] == "e"
    admin.ask("DELETE", member, expect=204)
    admin.ask("DELETE", member, expect=404)
    admin.ask("PUT", f"{path}/users/none", expect=404)
    other.ask("GET", "/groups", expect=403)
    admin.ask("POST", "/groups", {"group": {"name": "g"}}, expect=409)
    admin.ask("DELETE", path, expect=204)
    admin.ask("GET", path, expect=404)


def test_a_group_gives_roles_and_takes_them(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    project = admin.make("/projects", "project", name="shared")
    group = admin.make("/groups", "group", name="g")
    world.grant(f"/projects/{project['id']}/groups/{group['id']}", "reader")
    scope = {"project": {"id": project["id"]}}
    assert world.by_token(other.token, scope).status == 401
    admin.ask("PUT", f"/groups/{group['id']}/users/{other.user_id}", expect=204)
    answer = world.by_token(other.token, scope)
    assert [role["name"] for role in answer.json["token"]["roles"]] == ["reader"]
    token = answer.headers["x-subject-token"]
    assert world.alive(token)
    admin.ask("DELETE", f"/groups/{group['id']}/users/{other.user_id}", expect=204)
    assert not world.alive(token)
