"""Roles, implications, grants in every cell of the grid, and the listing of assignments."""

from typing import Any

import pytest


def test_role_life(admin: Any) -> None:
    role = admin.make("/roles", "role", name="r", description="d")
    assert role["domain_id"] is None
    path = f"/roles/{role['id']}"
    assert admin.change(path, "role", name="s")["name"] == "s"
    assert admin.get(path)["role"]["name"] == "s"
    assert [r["id"] for r in admin.get("/roles?name=s")["roles"]] == [role["id"]]
    admin.ask("POST", "/roles", {"role": {"name": "s"}}, expect=409)
    admin.ask("POST", "/roles", {"role": {}}, expect=400)
    admin.ask("DELETE", path, expect=204)
    admin.ask("GET", path, expect=404)


def test_roles_of_a_domain_are_apart(admin: Any) -> None:
    own = admin.make("/roles", "role", name="member", domain_id="default")
    assert own["domain_id"] == "default"
    assert own["id"] not in [r["id"] for r in admin.get("/roles")["roles"]]
    assert [r["id"] for r in admin.get("/roles?domain_id=default")["roles"]] == [own["id"]]


def test_implied_roles(world: Any) -> None:
    admin = world.admin
    a, b, c = (admin.make("/roles", "role", name=name)["id"] for name in "abc")
    admin.ask("PUT", f"/roles/{a}/implies/{b}", expect=201)
    admin.ask("PUT", f"/roles/{b}/implies/{c}", expect=201)
    admin.ask("PUT", f"/roles/{c}/implies/{a}", expect=403)
    admin.ask("PUT", f"/roles/{a}/implies/{world.roles['admin']}", expect=403)
    admin.ask("HEAD", f"/roles/{a}/implies/{b}", expect=204)
    admin.ask("HEAD", f"/roles/{a}/implies/{c}", expect=404)
    shown = admin.get(f"/roles/{a}/implies/{b}")["role_inference"]
    assert (shown["prior_role"]["id"], shown["implies"]["id"]) == (a, b)
    listed = admin.get(f"/roles/{a}/implies")["role_inference"]["implies"]
    assert [role["id"] for role in listed] == [b]
    assert len(admin.get("/role_inferences")["role_inferences"]) == 5
    other = world.member("other")
    path = f"/projects/{other.project_id}/users/{other.user_id}/roles/{a}"
    admin.ask("PUT", path, expect=204)
    token = world.by_password("other", "secret-1", {"project": {"id": other.project_id}}).json[
        "token"
    ]
    assert {"a", "b", "c", "member", "reader"} == {role["name"] for role in token["roles"]}
    admin.ask("DELETE", f"/roles/{a}/implies/{b}", expect=204)
    token = world.by_token(other.token, {"project": {"id": other.project_id}}).json["token"]
    assert {"a", "member", "reader"} == {role["name"] for role in token["roles"]}


def test_a_domains_role_stands_for_others_in_tokens(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    own = admin.make("/roles", "role", name="own", domain_id="default")["id"]
    real = admin.make("/roles", "role", name="real")["id"]
    admin.ask("PUT", f"/roles/{own}/implies/{real}", expect=201)
    admin.ask("PUT", f"/roles/{real}/implies/{own}", expect=403)
    admin.ask("PUT", f"/projects/{other.project_id}/users/{other.user_id}/roles/{own}", expect=204)
    token = world.by_token(other.token, {"project": {"id": other.project_id}}).json["token"]
    assert {role["name"] for role in token["roles"]} == {"member", "reader", "real"}
    domain = admin.make("/domains", "domain", name="lab")
    user = admin.get(f"/users/{other.user_id}")["user"]
    admin.ask("PUT", f"/domains/{domain['id']}/users/{user['id']}/roles/{own}", expect=403)


def cell_paths(place: str, actor: str, inherited: bool, ids: dict[str, str]) -> tuple[str, str]:
    """Return the listing's path and that of one role, for a cell of the grid."""
    user, group, project, domain, role = (
        ids[key] for key in ("user", "group", "project", "domain", "role")
    )
    match place, actor, inherited:
        case "project", "user", False:
            every = f"/projects/{project}/users/{user}/roles"
            return every, f"/projects/{project}/users/{user}/roles/{role}"
        case "project", "group", False:
            every = f"/projects/{project}/groups/{group}/roles"
            return every, f"/projects/{project}/groups/{group}/roles/{role}"
        case "domain", "user", False:
            every = f"/domains/{domain}/users/{user}/roles"
            return every, f"/domains/{domain}/users/{user}/roles/{role}"
        case "domain", "group", False:
            every = f"/domains/{domain}/groups/{group}/roles"
            return every, f"/domains/{domain}/groups/{group}/roles/{role}"
        case "system", "user", _:
            return f"/system/users/{user}/roles", f"/system/users/{user}/roles/{role}"
        case "system", "group", _:
            return f"/system/groups/{group}/roles", f"/system/groups/{group}/roles/{role}"
        case "project", "user", True:
            return (
                f"/OS-INHERIT/projects/{project}/users/{user}/roles/inherited_to_projects",
                f"/OS-INHERIT/projects/{project}/users/{user}/roles/{role}/inherited_to_projects",
            )
        case "project", "group", True:
            return (
                f"/OS-INHERIT/projects/{project}/groups/{group}/roles/inherited_to_projects",
                f"/OS-INHERIT/projects/{project}/groups/{group}/roles/{role}/inherited_to_projects",
            )
        case "domain", "user", True:
            return (
                f"/OS-INHERIT/domains/{domain}/users/{user}/roles/inherited_to_projects",
                f"/OS-INHERIT/domains/{domain}/users/{user}/roles/{role}/inherited_to_projects",
            )
        case _:
            return (
                f"/OS-INHERIT/domains/{domain}/groups/{group}/roles/inherited_to_projects",
                f"/OS-INHERIT/domains/{domain}/groups/{group}/roles/{role}/inherited_to_projects",
            )


@pytest.mark.parametrize("inherited", [False, True])
@pytest.mark.parametrize("actor", ["user", "group"])
@pytest.mark.parametrize("place", ["project", "domain", "system"])
def test_every_cell_of_the_grid(world: Any, place: str, actor: str, inherited: bool) -> None:
    admin = world.admin
    ids = {
        "user": admin.make("/users", "user", name="u")["id"],
        "group": admin.make("/groups", "group", name="g")["id"],
        "project": admin.make("/projects", "project", name="p")["id"],
        "domain": admin.make("/domains", "domain", name="d")["id"],
        "role": world.roles["member"],
    }
    every, one = cell_paths(place, actor, inherited, ids)
    admin.ask("HEAD", one, expect=404)
    assert admin.get(every)["roles"] == []
    for _ in range(2):
        admin.ask("PUT", one, expect=204)
    admin.ask("HEAD", one, expect=204)
    admin.ask("GET", one, expect=204)
    assert [role["name"] for role in admin.get(every)["roles"]] == ["member"]
    missing = one.replace(ids["role"], "0" * 32)
    admin.ask("PUT", missing, expect=404)
    admin.ask("PUT", one.replace(ids[actor], "0" * 32), expect=404)
    other = world.member("other")
    for method in ("GET", "PUT", "DELETE"):
        other.ask(method, one, expect=403)
    admin.ask("DELETE", one, expect=204)
    admin.ask("DELETE", one, expect=404)


def test_inherited_roles_hold_below_and_not_on_the_place(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    top = admin.make("/projects", "project", name="top")
    leaf = admin.make("/projects", "project", name="leaf", parent_id=top["id"])
    role = world.roles["reader"]
    path = (
        f"/OS-INHERIT/projects/{top['id']}/users/{other.user_id}/roles/{role}/inherited_to_projects"
    )
    admin.ask("PUT", path, expect=204)

    def may(project: str) -> bool:
        return bool(world.by_token(other.token, {"project": {"id": project}}).status == 201)

    assert (may(top["id"]), may(leaf["id"])) == (False, True)
    names = {p["name"] for p in other.get("/auth/projects")["projects"]}
    assert names == {"other-project", "leaf"}
    admin.ask("DELETE", path, expect=204)
    assert not may(leaf["id"])
    path = f"/OS-INHERIT/domains/default/users/{other.user_id}/roles/{role}/inherited_to_projects"
    admin.ask("PUT", path, expect=204)
    assert may(top["id"])
    assert may(leaf["id"])
    assert world.by_token(other.token, {"domain": {"id": "default"}}).status == 401


def test_assignments_are_listed_as_made_and_as_they_take_effect(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    group = admin.make("/groups", "group", name="g")
    admin.ask("PUT", f"/groups/{group['id']}/users/{other.user_id}", expect=204)
    world.grant(f"/projects/{other.project_id}/groups/{group['id']}", "manager")

    def listed(query: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = admin.get(f"/role_assignments?{query}")["role_assignments"]
        return rows

    assert len(listed(f"user.id={other.user_id}")) == 1
    assert len(listed(f"group.id={group['id']}")) == 1
    (made,) = listed(f"user.id={other.user_id}&include_names")
    assert made["user"]["name"] == "other"
    assert made["role"]["name"] == "member"
    assert made["scope"]["project"]["domain"] == {"id": "default", "name": "Default"}
    effective = listed(f"user.id={other.user_id}&effective")
    assert {row["role"]["id"] for row in effective} == {
        world.roles[name] for name in ("manager", "member", "reader")
    }
    assert all("group" not in row for row in effective)
    assert any("membership" in row["links"] for row in effective)
    on_project = listed(
        f"scope.project.id={other.project_id}&effective&role.id={world.roles['manager']}"
    )
    assert [row["user"]["id"] for row in on_project] == [other.user_id]
    assert [row["scope"] for row in listed("scope.system=all")] == [{"system": {"all": True}}]
    assert len(listed("scope.domain.id=default")) == 1
    admin.ask("GET", "/role_assignments?include_subtree", expect=400)
    admin.ask("GET", f"/role_assignments?effective&group.id={group['id']}", expect=400)
    admin.ask("HEAD", "/role_assignments", expect=200)
    other.ask("GET", "/role_assignments", expect=403)


def test_assignments_of_a_subtree(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    leaf = admin.make("/projects", "project", name="leaf", parent_id=other.project_id)
    world.grant(f"/projects/{leaf['id']}/users/{other.user_id}", "reader")
    path = f"/role_assignments?scope.project.id={other.project_id}&include_subtree"
    assert len(admin.get(path)["role_assignments"]) == 2
