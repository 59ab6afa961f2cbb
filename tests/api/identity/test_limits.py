"""Registered limits and limits."""

from typing import Any


def register(admin: Any, **fields: Any) -> dict[str, Any]:
    service = admin.get("/services")["services"][0]["id"]
    body = {"service_id": service, "resource_name": "cores", "default_limit": 10, **fields}
    answer = admin.ask("POST", "/registered_limits", {"registered_limits": [body]}, expect=201)
    made: dict[str, Any] = answer.json["registered_limits"][0]
    return made


def test_limits_override_registered_ones(world: Any) -> None:
    admin, other = world.admin, world.member("other")
    registered = register(admin)
    assert registered["region_id"] is None
    path = f"/registered_limits/{registered['id']}"
    assert other.get(path)["registered_limit"] == registered
    listed = other.get("/registered_limits?resource_name=cores")["registered_limits"]
    assert listed == [registered]
    body = {
        "service_id": registered["service_id"],
        "resource_name": "cores",
        "resource_limit": 5,
        "project_id": other.project_id,
    }
    (limit,) = admin.ask("POST", "/limits", {"limits": [body]}, expect=201).json["limits"]
    one = f"/limits/{limit['id']}"
    assert other.get(one)["limit"] == limit
    assert [found["id"] for found in other.get("/limits")["limits"]] == [limit["id"]]
    assert world.member("stranger").get("/limits")["limits"] == []
    assert admin.change(one, "limit", resource_limit=7)["resource_limit"] == 7
    admin.ask("POST", "/limits", {"limits": [body]}, expect=409)
    admin.ask("DELETE", path, expect=403)
    admin.ask("PATCH", path, {"registered_limit": {"resource_name": "ram"}}, expect=403)
    assert admin.change(path, "registered_limit", default_limit=20)["default_limit"] == 20
    other.ask("PATCH", one, {"limit": {"resource_limit": 99}}, expect=403)
    admin.ask("DELETE", one, expect=204)
    admin.ask("GET", one, expect=404)
    admin.ask("DELETE", path, expect=204)
    admin.ask("GET", path, expect=404)
    assert other.get("/limits/model")["model"]["name"] == "flat"


def test_limits_that_are_refused(world: Any) -> None:
    admin = world.admin
    registered = register(admin)
    service = registered["service_id"]
    again = {"service_id": service, "resource_name": "cores", "default_limit": 1}
    for status, body in (
        (409, again),
        (400, {**again, "service_id": "none"}),
        (400, {**again, "resource_name": "x", "region_id": "none"}),
        (400, {**again, "resource_name": "x", "default_limit": -2}),
        (400, {**again, "resource_name": ""}),
    ):
        admin.ask("POST", "/registered_limits", {"registered_limits": [body]}, expect=status)
    admin.ask("POST", "/registered_limits", {"registered_limits": []}, expect=400)
    limit = {"service_id": service, "resource_name": "cores", "resource_limit": 1}
    for status, body in (
        (400, limit),
        (400, {**limit, "project_id": "x", "domain_id": "default"}),
        (404, {**limit, "project_id": "none"}),
        (403, {**limit, "domain_id": "default", "resource_name": "ram"}),
    ):
        admin.ask("POST", "/limits", {"limits": [body]}, expect=status)
    assert admin.get("/limits")["limits"] == []


def test_limits_go_with_their_project(world: Any) -> None:
    admin = world.admin
    registered, project = register(admin), admin.make("/projects", "project", name="p")
    body = {
        "service_id": registered["service_id"],
        "resource_name": "cores",
        "resource_limit": 5,
        "project_id": project["id"],
    }
    admin.ask("POST", "/limits", {"limits": [body]}, expect=201)
    admin.ask("DELETE", f"/projects/{project['id']}", expect=204)
    assert admin.get("/limits")["limits"] == []
