"""Version documents, regions, services, endpoints and what the catalog makes of them."""

from typing import Any

import pytest

from tests.api.identity.conftest import V3


def test_version_documents(world: Any) -> None:
    listed = world.cloud.get("/identity")
    assert listed.status == 300
    (version,) = listed.json["versions"]["values"]
    assert version["id"].startswith("v3")
    assert version["links"] == [{"rel": "self", "href": "https://cloud.test/identity/v3/"}]
    for path in (V3, V3 + "/"):
        assert world.cloud.get(path).json["version"] == version


def test_region_life(admin: Any) -> None:
    parent = admin.make("/regions", "region", description="d")
    assert len(parent["id"]) == 32
    child = admin.make("/regions", "region", id="east", parent_region_id=parent["id"])
    assert child["parent_region_id"] == parent["id"]
    listed = admin.get(f"/regions?parent_region_id={parent['id']}")["regions"]
    assert [region["id"] for region in listed] == ["east"]
    assert admin.change("/regions/east", "region", description="e")["description"] == "e"
    admin.ask("PUT", "/regions/west", {"region": {"description": "w"}}, expect=201)
    admin.ask("POST", "/regions", {"region": {"id": "east"}}, expect=409)
    admin.ask("POST", "/regions", {"region": {"parent_region_id": "none"}}, expect=404)
    admin.ask(
        "PATCH", f"/regions/{parent['id']}", {"region": {"parent_region_id": "east"}}, expect=400
    )
    admin.ask("DELETE", f"/regions/{parent['id']}", expect=403)
    admin.ask("DELETE", "/regions/RegionOne", expect=403)
    for ident in ("east", parent["id"], "west"):
        admin.ask("DELETE", f"/regions/{ident}", expect=204)
        admin.ask("GET", f"/regions/{ident}", expect=404)


def test_service_and_endpoint_life(world: Any) -> None:
    admin = world.admin
    service = admin.make("/services", "service", type="dns", name="designate", description="d")
    path = f"/services/{service['id']}"
    assert admin.get(path)["service"] == service
    assert admin.change(path, "service", name="other")["name"] == "other"
    assert [s["id"] for s in admin.get("/services?type=dns")["services"]] == [service["id"]]
    endpoint = admin.make(
        "/endpoints", "endpoint",
        service_id=service["id"], interface="public", url="http://dns/%(project_id)s", region="new",
    )  # fmt: skip
    assert endpoint["region"] == endpoint["region_id"] == "new"
    assert admin.get("/regions/new")["region"]["id"] == "new"
    one = f"/endpoints/{endpoint['id']}"
    assert admin.get(one)["endpoint"] == endpoint
    entries = {e["type"]: e for e in admin.get("/auth/catalog")["catalog"]}
    project = admin.get("/projects?name=admin")["projects"][0]["id"]
    assert [e["url"] for e in entries["dns"]["endpoints"]] == [f"http://dns/{project}"]
    system = world.login("admin", world.password, scope={"system": {"all": True}})
    entries = {e["type"]: e for e in system.get("/auth/catalog")["catalog"]}
    assert entries["dns"]["endpoints"] == []
    assert admin.change(one, "endpoint", enabled=False)["enabled"] is False
    entries = {e["type"]: e for e in admin.get("/auth/catalog")["catalog"]}
    assert entries["dns"]["endpoints"] == []
    listed = admin.get(f"/endpoints?service_id={service['id']}&interface=public")["endpoints"]
    assert [e["id"] for e in listed] == [endpoint["id"]]
    admin.ask("DELETE", "/regions/new", expect=409)
    admin.ask("DELETE", path, expect=204)
    admin.ask("GET", one, expect=404)
    admin.ask("DELETE", one, expect=404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"service_id": "none", "interface": "public", "url": "http://x"},
        {"interface": "public", "url": "http://x"},
        {"interface": "secret", "url": "http://x", "service_id": "builtin"},
        {"interface": "public", "url": "", "service_id": "builtin"},
        {"interface": "public", "url": "http://x", "service_id": "builtin", "region_id": "none"},
    ],
)
def test_endpoints_that_are_refused(admin: Any, body: dict[str, Any]) -> None:
    if body.get("service_id") == "builtin":
        body = {**body, "service_id": admin.get("/services")["services"][0]["id"]}
    admin.ask("POST", "/endpoints", {"endpoint": body}, expect=400)


def test_the_built_in_services_are_there_to_stay(world: Any) -> None:
    admin = world.admin
    (service,) = admin.get("/services?type=identity")["services"]
    endpoints = admin.get(f"/endpoints?service_id={service['id']}")["endpoints"]
    assert {e["interface"] for e in endpoints} == {"public", "internal", "admin"}
    assert {e["region"] for e in endpoints} == {"RegionOne"}
    admin.ask("PATCH", f"/services/{service['id']}", {"service": {"name": "x"}}, expect=403)
    admin.ask("DELETE", f"/services/{service['id']}", expect=403)
    admin.ask("DELETE", f"/endpoints/{endpoints[0]['id']}", expect=403)
    admin.ask("PATCH", f"/endpoints/{endpoints[0]['id']}", {"endpoint": {}}, expect=403)
    admin.get(f"/endpoints/{endpoints[0]['id']}")


def test_services_need_a_type(admin: Any) -> None:
    admin.ask("POST", "/services", {"service": {"name": "x"}}, expect=400)
    admin.ask("GET", "/services/none", expect=404)
    admin.ask("DELETE", "/services/none", expect=404)
    admin.ask("PATCH", "/services/none", {"service": {}}, expect=404)


def test_members_see_regions_and_the_catalog_only(world: Any) -> None:
    other = world.member("other")
    other.get("/regions")
    other.get("/auth/catalog")
    for path in ("/services", "/endpoints", "/policies"):
        other.ask("GET", path, expect=403)
    other.ask("POST", "/regions", {"region": {}}, expect=403)
    unscoped = world.login("other", "secret-1", scope="unscoped")
    unscoped.ask("GET", "/auth/catalog", expect=403)


def test_policy_blobs(admin: Any) -> None:
    policy = admin.make("/policies", "policy", blob="{}", type="application/json")
    path = f"/policies/{policy['id']}"
    assert admin.change(path, "policy", type="text/plain")["type"] == "text/plain"
    assert admin.get(path)["policy"]["blob"] == "{}"
    assert len(admin.get("/policies")["policies"]) == 1
    admin.ask("POST", "/policies", {"policy": {"type": "x"}}, expect=400)
    admin.ask("DELETE", path, expect=204)
    admin.ask("GET", path, expect=404)


def test_consumers(admin: Any) -> None:
    consumer = admin.make("/OS-OAUTH1/consumers", "consumer", description="d")
    path = f"/OS-OAUTH1/consumers/{consumer['id']}"
    assert consumer["secret"]
    assert "secret" not in admin.get(path)["consumer"]
    assert admin.change(path, "consumer", description="e")["description"] == "e"
    assert len(admin.get("/OS-OAUTH1/consumers")["consumers"]) == 1
    admin.ask("PATCH", path, {"consumer": {"secret": "mine"}}, expect=400)
    admin.ask("DELETE", path, expect=204)
    admin.ask("GET", path, expect=404)
