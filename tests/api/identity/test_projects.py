"""Projects, tags, domains and their trees."""

from typing import Any


def test_project_life(admin: Any) -> None:
    project = admin.make("/projects", "project", name="p", description="d", tags=["a"], cost=5)
    assert project["domain_id"] == project["parent_id"] == "default"
    assert project["is_domain"] is False
    assert project["tags"] == ["a"]
    assert project["cost"] == 5
    path = f"/projects/{project['id']}"
    assert admin.get(path)["project"] == project
    assert admin.change(path, "project", name="q", enabled=False)["enabled"] is False
    assert admin.get("/projects?name=q")["projects"][0]["id"] == project["id"]
    assert admin.get("/projects?enabled=0")["projects"][0]["id"] == project["id"]
    admin.ask("DELETE", path, expect=204)
    admin.ask("GET", path, expect=404)


def test_project_bodies_that_are_refused(admin: Any) -> None:
    for status, body in (
        (400, {}),
        (400, {"name": ""}),
        (400, {"name": "x" * 65}),
        (400, {"name": " "}),
        (400, {"name": "p", "enabled": "yes"}),
        (400, {"name": "p", "tags": ["a,b"]}),
        (400, {"name": "p", "is_domain": True, "parent_id": "default"}),
        (404, {"name": "p", "parent_id": "0" * 32}),
        (404, {"name": "p", "domain_id": "0" * 32}),
        (409, {"name": "admin"}),
    ):
        admin.ask("POST", "/projects", {"project": body}, expect=status)
    project = admin.make("/projects", "project", name="p")
    path = f"/projects/{project['id']}"
    admin.ask("PATCH", path, {"project": {"parent_id": project["id"]}}, expect=403)
    admin.ask("PATCH", path, {"project": {"is_domain": True}}, expect=400)
    admin.ask("PATCH", path, {"project": {"domain_id": "x"}}, expect=400)
    admin.ask("PATCH", path, {"project": {"name": "admin"}}, expect=409)


def test_the_tree_holds_its_rules(admin: Any) -> None:
    parents = [admin.make("/projects", "project", name="p0")]
    for level in range(1, 5):
        parents.append(
            admin.make("/projects", "project", name=f"p{level}", parent_id=parents[-1]["id"])
        )
    too_deep = {"project": {"name": "p5", "parent_id": parents[-1]["id"]}}
    admin.ask("POST", "/projects", too_deep, expect=403)
    top, below = (f"/projects/{parents[i]['id']}" for i in (0, 1))
    admin.ask("DELETE", top, expect=403)
    admin.ask("PATCH", top, {"project": {"enabled": False}}, expect=403)
    ids = [project["id"] for project in parents]
    shown = admin.get(f"{below}?subtree_as_ids&parents_as_ids")["project"]
    assert shown["parents"] == {ids[0]: {"default": None}}
    assert shown["subtree"] == {ids[2]: {ids[3]: {ids[4]: None}}}
    listed = admin.get(f"/projects?parent_id={ids[0]}")["projects"]
    assert [project["id"] for project in listed] == [ids[1]]
    leaf = f"/projects/{ids[4]}"
    admin.change(leaf, "project", enabled=False)
    child = {"project": {"name": "x", "parent_id": ids[4]}}
    admin.ask("POST", "/projects", child, expect=403)
    for ident in reversed(ids):
        admin.ask("DELETE", f"/projects/{ident}", expect=204)


def test_tree_lists_show_what_the_caller_has_a_role_in(world: Any) -> None:
    admin = world.admin
    top = admin.make("/projects", "project", name="top")
    seen = admin.make("/projects", "project", name="seen", parent_id=top["id"])
    admin.make("/projects", "project", name="unseen", parent_id=top["id"])
    user = admin.get("/users?name=admin")["users"][0]["id"]
    world.grant(f"/projects/{seen['id']}/users/{user}", "reader")
    shown = admin.get(f"/projects/{top['id']}?subtree_as_list")["project"]
    assert [entry["project"]["id"] for entry in shown["subtree"]] == [seen["id"]]


def test_tags(admin: Any) -> None:
    project = admin.make("/projects", "project", name="p")
    path = f"/projects/{project['id']}"
    admin.ask("PUT", f"{path}/tags", {"tags": ["a", "b"]}, expect=200)
    admin.ask("PUT", f"/projects/{project['id']}/tags/c", expect=201)
    assert admin.get(f"/projects/{project['id']}/tags")["tags"] == ["a", "b", "c"]
    for method in ("HEAD", "GET"):
        admin.ask(method, f"{path}/tags/a", expect=204)
        admin.ask(method, f"{path}/tags/z", expect=404)

    def found(query: str) -> bool:
        return project["id"] in [p["id"] for p in admin.get(f"/projects?{query}")["projects"]]

    assert found("tags=a,b")
    assert not found("tags=a,z")
    assert found("tags-any=a,z")
    assert not found("not-tags=a")
    assert found("not-tags-any=y,z")
    admin.ask("DELETE", f"{path}/tags/a", expect=204)
    admin.ask("DELETE", f"{path}/tags/a", expect=404)
    admin.ask("DELETE", f"/projects/{project['id']}/tags", expect=204)
    assert admin.get(f"{path}/tags")["tags"] == []
    admin.ask("PUT", f"{path}/tags", {"tags": [str(n) for n in range(81)]}, expect=400)
    admin.ask("PUT", f"{path}/tags/a,b", expect=400)


def test_a_member_sees_only_the_own_project(world: Any) -> None:
    other = world.member("other")
    assert other.get(f"/projects/{other.project_id}")["project"]["name"] == "other-project"
    other.ask("GET", "/projects", expect=403)
    other.ask("POST", "/projects", {"project": {"name": "x"}}, expect=403)
    foreign = world.admin.get("/projects?name=admin")["projects"][0]["id"]
    other.ask("GET", f"/projects/{foreign}", expect=403)
    other.ask("DELETE", f"/projects/{other.project_id}", expect=403)
    assert [p["id"] for p in other.get("/auth/projects")["projects"]] == [other.project_id]
    assert other.get("/auth/domains")["domains"] == []
    assert other.get("/auth/system")["system"] == []


def test_what_admin_may_scope_to(admin: Any) -> None:
    assert [p["name"] for p in admin.get("/auth/projects")["projects"]] == ["admin"]
    assert [d["id"] for d in admin.get("/auth/domains")["domains"]] == ["default"]
    assert admin.get("/auth/system")["system"] == [{"all": True}]
    for path in ("/auth/projects", "/auth/domains", "/auth/system", "/auth/catalog"):
        admin.ask("HEAD", path, expect=200)


def test_domain_life_and_cascade(world: Any) -> None:
    admin = world.admin
    domain = admin.make("/domains", "domain", name="lab", description="d")
    path = f"/domains/{domain['id']}"
    assert admin.get(path)["domain"] == domain
    assert admin.get(f"/projects/{domain['id']}")["project"]["is_domain"] is True
    assert domain["id"] in [p["id"] for p in admin.get("/projects?is_domain=1")["projects"]]
    user = admin.make("/users", "user", name="u", domain_id=domain["id"])
    group = admin.make("/groups", "group", name="g", domain_id=domain["id"])
    project = admin.make("/projects", "project", name="p", domain_id=domain["id"])
    below = admin.make("/projects", "project", name="p2", parent_id=project["id"])
    assert below["domain_id"] == domain["id"]
    role = admin.make("/roles", "role", name="r", domain_id=domain["id"])
    world.grant(f"/projects/{project['id']}/users/{user['id']}", "member")
    admin.ask("DELETE", path, expect=403)
    assert admin.change(path, "domain", enabled=False)["enabled"] is False
    admin.ask("DELETE", path, expect=204)
    for gone in (
        path, f"/users/{user['id']}", f"/groups/{group['id']}", f"/projects/{project['id']}",
        f"/projects/{below['id']}", f"/roles/{role['id']}",
    ):  # fmt: skip
        admin.ask("GET", gone, expect=404)
    assert domain["id"] not in admin.ask("GET", "/role_assignments", expect=200).body.decode()
    assert [d["id"] for d in admin.get("/domains")["domains"]] == ["default"]


def test_domain_bodies_that_are_refused(admin: Any) -> None:
    admin.ask("POST", "/domains", {"domain": {}}, expect=400)
    admin.ask("POST", "/domains", {"domain": {"name": "Default"}}, expect=409)
    admin.ask("POST", "/domains", {"domain": {"name": "x", "explicit_domain_id": "y"}}, expect=400)
    admin.ask("PATCH", "/domains/default", {"domain": {"enabled": False}}, expect=403)
    admin.ask("GET", "/domains/none", expect=404)


def test_a_domain_made_as_a_project(admin: Any) -> None:
    domain = admin.make("/projects", "project", name="lab", is_domain=True)
    assert (domain["domain_id"], domain["parent_id"]) == (None, None)
    path = f"/projects/{domain['id']}"
    admin.ask("DELETE", path, expect=403)
    admin.change(path, "project", enabled=False)
    admin.ask("DELETE", path, expect=204)
    admin.ask("GET", f"/domains/{domain['id']}", expect=404)


def test_deleting_a_project_takes_it_from_users(admin: Any) -> None:
    project = admin.make("/projects", "project", name="p")
    user = admin.make("/users", "user", name="u", default_project_id=project["id"])
    assert user["default_project_id"] == project["id"]
    admin.ask("DELETE", f"/projects/{project['id']}", expect=204)
    assert "default_project_id" not in admin.get(f"/users/{user['id']}")["user"]


def test_immutable_things_stay(admin: Any) -> None:
    project = admin.make("/projects", "project", name="p", options={"immutable": True})
    path = f"/projects/{project['id']}"
    admin.ask("DELETE", path, expect=403)
    admin.ask("PATCH", path, {"project": {"name": "q"}}, expect=403)
    assert admin.change(path, "project", options={"immutable": None})["options"] == {}
    admin.ask("DELETE", path, expect=204)
