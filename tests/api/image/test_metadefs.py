"""Metadata definitions: who sees and changes them, and that what was said of one comes back."""

from pathlib import Path
from typing import Any

import pytest

from node.plugins import image as image_plugin
from node.testing import Answer, Cloud

ROOT = "/image/v2/metadefs/namespaces"
SIZE = {"title": "Size", "type": "integer", "minimum": 1, "maxLength": 9, "default": 5, "enum": [1, 5]}


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path, [image_plugin])


@pytest.fixture
def admin(cloud: Cloud) -> str:
    return cloud.token(roles=("admin",), project_id="ops")


def make(cloud: Cloud, token: str, namespace: str = "OS::My", **fields: Any) -> Answer:
    return cloud.post(ROOT, json={"namespace": namespace, **fields}, token=token)


def test_a_namespace_with_all_that_is_in_it(cloud: Cloud, admin: str) -> None:
    made = make(
        cloud, admin, display_name="My", description="Mine", protected=True, visibility="public",
        properties={"size": SIZE}, tags=[{"name": "b"}, {"name": "a"}],
        objects=[{"name": "o", "required": ["size"], "properties": {"size": SIZE}}],
        resource_type_associations=[{"name": "OS::Nova::Flavor", "prefix": "hw:"}],
    )  # fmt: skip
    assert made.status == 201, made.body
    assert made.headers["location"].endswith("/image/v2/metadefs/namespaces/OS%3A%3AMy")
    shown = cloud.get(f"{ROOT}/OS::My", token=admin).json
    assert shown == made.json
    assert shown["properties"] == {"size": SIZE}
    assert shown["tags"] == [{"name": "a"}, {"name": "b"}]
    assert (shown["owner"], shown["protected"]) == ("ops", True)
    (association,) = shown["resource_type_associations"]
    assert (association["name"], association["prefix"]) == ("OS::Nova::Flavor", "hw:")
    prefixed = cloud.get(f"{ROOT}/OS::My?resource_type=OS::Nova::Flavor", token=admin).json
    assert list(prefixed["properties"]) == ["hw:size"]
    assert prefixed["objects"][0]["required"] == ["hw:size"]
    assert cloud.get(f"{ROOT}/OS::My/properties/hw:size?resource_type=OS::Nova::Flavor", token=admin).status == 200
    assert make(cloud, admin).status == 409
    assert cloud.delete(f"{ROOT}/OS::My", token=admin).status == 403
    assert cloud.delete(f"{ROOT}/OS::My/tags/a", token=admin).status == 403
    renamed = cloud.put(f"{ROOT}/OS::My", json={"namespace": "OS::Other"}, token=admin)
    assert (renamed.json["namespace"], renamed.json["protected"]) == ("OS::Other", False)
    assert cloud.get(f"{ROOT}/OS::My", token=admin).status == 404
    assert cloud.get(f"{ROOT}/OS::Other/properties", token=admin).json["properties"]["size"]["title"] == "Size"
    assert cloud.delete(f"{ROOT}/OS::Other", token=admin).status == 204
    assert cloud.get(ROOT, token=admin).json["namespaces"] == []


def test_who_sees_and_who_changes(cloud: Cloud, admin: str) -> None:
    make(cloud, admin, "public", visibility="public")
    make(cloud, admin, "private")
    make(cloud, admin, "theirs", owner="project-1")
    reader = cloud.token(roles=("reader",))
    seen = {each["namespace"] for each in cloud.get(ROOT, token=reader).json["namespaces"]}
    assert seen == {"public", "theirs"}
    assert cloud.get(f"{ROOT}/private", token=reader).status == 404
    assert cloud.get(f"{ROOT}/private/objects", token=reader).status == 404
    assert make(cloud, cloud.token()).status == 403
    assert cloud.post(f"{ROOT}/theirs/tags/t", token=cloud.token()).status == 403
    only = cloud.get(f"{ROOT}?visibility=public", token=admin).json["namespaces"]
    assert [each["namespace"] for each in only] == ["public"]


def test_pages(cloud: Cloud, admin: str) -> None:
    for name in "abc":
        make(cloud, admin, name)
    page = cloud.get(f"{ROOT}?sort_key=namespace&sort_dir=asc&limit=2", token=admin).json
    assert [each["namespace"] for each in page["namespaces"]] == ["a", "b"]
    rest = cloud.get(f"/image{page['next']}", token=admin).json
    assert [each["namespace"] for each in rest["namespaces"]] == ["c"]
    assert "next" not in rest
    for wrong, status in (("limit=-1", 400), ("marker=x", 404), ("sort_key=owner", 400)):
        assert cloud.get(f"{ROOT}?{wrong}", token=admin).status == status


@pytest.mark.parametrize(
    ("kind", "body", "key"),
    [
        ("properties", {"name": "n", **SIZE}, "title"),
        ("objects", {"name": "n", "description": "d", "properties": {"size": SIZE}}, "description"),
    ],
)
def test_items(cloud: Cloud, admin: str, kind: str, body: dict[str, Any], key: str) -> None:
    make(cloud, admin)
    path = f"{ROOT}/OS::My/{kind}"
    made = cloud.post(path, json=body, token=admin)
    assert (made.status, made.json[key]) == (201, body[key])
    assert cloud.post(path, json=body, token=admin).status == 409
    assert cloud.get(f"{path}/n", token=admin).json == made.json
    changed = cloud.put(f"{path}/n", json={**body, "name": "m", key: "new"}, token=admin)
    assert (changed.status, changed.json[key]) == (200, "new")
    assert cloud.get(f"{path}/n", token=admin).status == 404
    assert cloud.put(f"{path}/n", json=body, token=admin).status == 404
    assert "m" in str(cloud.get(path, token=admin).json[kind])
    assert cloud.delete(f"{path}/m", token=admin).status == 204
    assert cloud.delete(f"{path}/m", token=admin).status == 404
    cloud.post(path, json=body, token=admin)
    assert cloud.delete(path, token=admin).status == 204
    assert not cloud.get(path, token=admin).json[kind]
    assert cloud.post(path, json={**body, "colour": "red"}, token=admin).status == 400


def test_tags(cloud: Cloud, admin: str) -> None:
    make(cloud, admin)
    path = f"{ROOT}/OS::My/tags"
    names = lambda: [tag["name"] for tag in cloud.get(path, token=admin).json["tags"]]  # noqa: E731
    assert cloud.post(path, json={"tags": [{"name": "a"}, {"name": "b"}]}, token=admin).status == 201
    assert cloud.post(path, json={"tags": [{"name": "c"}]}, token=admin).status == 201
    assert names() == ["c"]
    more = {"X-Openstack-Append": "True"}
    assert cloud.post(path, json={"tags": [{"name": "d"}]}, token=admin, headers=more).status == 201
    assert cloud.post(path, json={"tags": [{"name": "d"}]}, token=admin, headers=more).status == 409
    assert cloud.post(path, json={"tags": [{"name": "e"}, {"name": "e"}]}, token=admin).status == 400
    assert cloud.post(f"{path}/e", token=admin).status == 201
    assert cloud.put(f"{path}/e", json={"name": "c"}, token=admin).status == 409
    assert cloud.put(f"{path}/e", json={"name": "f"}, token=admin).json["name"] == "f"
    assert names() == ["c", "d", "f"]
    assert cloud.delete(path, token=admin).status == 204
    assert names() == []


def test_resource_types(cloud: Cloud, admin: str) -> None:
    make(cloud, admin)
    path = f"{ROOT}/OS::My/resource_types"
    assert cloud.post(path, json={"name": "My::Thing", "prefix": "t_"}, token=admin).status == 201
    assert cloud.post(path, json={"name": "My::Thing"}, token=admin).status == 409
    known = cloud.get("/image/v2/metadefs/resource_types", token=admin).json["resource_types"]
    assert {"My::Thing", "OS::Nova::Server"} <= {each["name"] for each in known}
    (listed,) = cloud.get(path, token=admin).json["resource_type_associations"]
    assert listed["prefix"] == "t_"
    assert [each["namespace"] for each in cloud.get(f"{ROOT}?resource_types=My::Thing", token=admin).json["namespaces"]]
    assert cloud.delete(f"{path}/My::Thing", token=admin).status == 204
    assert cloud.delete(f"{path}/My::Thing", token=admin).status == 404


def test_schemas(cloud: Cloud) -> None:
    token = cloud.token(roles=("reader",))
    for name in ("namespace", "object", "property", "tag"):
        assert cloud.get(f"/image/v2/schemas/metadefs/{name}", token=token).json["name"] == name
    for name in ("namespaces", "objects", "properties", "tags"):
        assert name in cloud.get(f"/image/v2/schemas/metadefs/{name}", token=token).json["properties"]
    assert cloud.get("/image/v2/schemas/metadefs/nothing", token=token).status == 404


def test_what_glance_keeps_for_itself(cloud: Cloud) -> None:
    token = cloud.token()
    body = {"name": "i", "os_glance_x": "y"}
    assert cloud.post("/image/v2/images", json=body, token=token).status == 403
    assert cloud.get("/image/v2/images/", token=token).status == 404
    assert cloud.delete("/image/v2/images/", token=token).status == 404
