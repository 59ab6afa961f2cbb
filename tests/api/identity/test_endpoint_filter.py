"""Endpoints and groups of them that are chosen for a project's catalog."""

from typing import Any


def catalog(caller: Any) -> set[str]:
    """Return the ids of the endpoints in the caller's catalog."""
    return {e["id"] for entry in caller.get("/auth/catalog")["catalog"] for e in entry["endpoints"]}


def test_group_life(admin: Any) -> None:
    group = admin.make(
        "/OS-EP-FILTER/endpoint_groups", "endpoint_group", name="g", filters={"interface": "public"}
    )
    path = f"/OS-EP-FILTER/endpoint_groups/{group['id']}"
    assert admin.get(path)["endpoint_group"] == group
    admin.ask("HEAD", path, expect=200)
    listed = admin.get("/OS-EP-FILTER/endpoint_groups?name=g")["endpoint_groups"]
    assert listed == [group]
    changed = admin.change(path, "endpoint_group", filters={"region_id": "RegionOne"})
    assert changed["filters"] == {"interface": "public", "region_id": "RegionOne"}
    for body in (
        {"name": "x"},
        {"name": "x", "filters": {"color": "red"}},
        {"name": "x", "filters": {"interface": "secret"}},
    ):
        every = "/OS-EP-FILTER/endpoint_groups"
        admin.ask("POST", every, {"endpoint_group": body}, expect=400)
    admin.ask("DELETE", path, expect=204)
    admin.ask("GET", path, expect=404)


def test_a_chosen_endpoint_is_all_that_the_project_sees(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    chosen = admin.get("/endpoints?interface=public")["endpoints"][0]["id"]
    everything = catalog(other)
    path = f"/OS-EP-FILTER/projects/{other.project_id}/endpoints/{chosen}"
    admin.ask("HEAD", path, expect=404)
    for _ in range(2):
        admin.ask("PUT", path, expect=204)
    admin.ask("HEAD", path, expect=204)
    admin.ask("GET", path, expect=204)
    assert catalog(other) == {chosen}
    assert catalog(admin) == everything
    every = f"/OS-EP-FILTER/projects/{other.project_id}/endpoints"
    assert [e["id"] for e in admin.get(every)["endpoints"]] == [chosen]
    projects = admin.get(f"/OS-EP-FILTER/endpoints/{chosen}/projects")["projects"]
    assert [p["id"] for p in projects] == [other.project_id]
    other.ask("PUT", path, expect=403)
    other.ask("DELETE", path, expect=403)
    admin.ask("DELETE", path, expect=204)
    admin.ask("DELETE", path, expect=404)
    assert catalog(other) == everything
    assert admin.get(every)["endpoints"] == []


def test_a_chosen_group_is_all_that_the_project_sees(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    everything = catalog(other)
    group = admin.make(
        "/OS-EP-FILTER/endpoint_groups", "endpoint_group", name="g", filters={"interface": "public"}
    )
    path = f"/OS-EP-FILTER/endpoint_groups/{group['id']}/projects/{other.project_id}"
    admin.ask("GET", path, expect=404)
    admin.ask("PUT", path, expect=204)
    admin.ask("HEAD", path, expect=200)
    shown = admin.get(path)["project_endpoint_group"]
    assert shown == {"endpoint_group_id": group["id"], "project_id": other.project_id}
    inside = admin.get(f"/OS-EP-FILTER/endpoint_groups/{group['id']}/endpoints")["endpoints"]
    assert catalog(other) == {e["id"] for e in inside} < everything
    groups = admin.get(f"/OS-EP-FILTER/projects/{other.project_id}/endpoint_groups")
    assert [g["id"] for g in groups["endpoint_groups"]] == [group["id"]]
    projects = admin.get(f"/OS-EP-FILTER/endpoint_groups/{group['id']}/projects")["projects"]
    assert [p["id"] for p in projects] == [other.project_id]
    admin.ask("DELETE", path, expect=204)
    assert catalog(other) == everything
    admin.ask("PUT", path, expect=204)
    admin.ask("DELETE", f"/OS-EP-FILTER/endpoint_groups/{group['id']}", expect=204)
    assert catalog(other) == everything
