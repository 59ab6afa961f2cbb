"""Nova's old images: what Glance has, in Nova's words."""

from pathlib import Path
from typing import Any

import pytest

from node.plugins import compute, image
from node.testing import Cloud
from tests.api.compute.schemas import check

IMAGES = "/compute/v2.1/images"
OLD = {"X-OpenStack-Nova-API-Version": "2.35"}


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path, [compute, image])


@pytest.fixture
def token(cloud: Cloud) -> str:
    return cloud.token()


def make(cloud: Cloud, token: str, name: str, *, data: bytes = b"x", **fields: Any) -> str:
    body = {"name": name, "disk_format": "raw", "container_format": "bare", **fields}
    image_id: str = cloud.post("/image/v2/images", json=body, token=token).json["id"]
    if data:
        octets = {"Content-Type": "application/octet-stream"}
        path = f"/image/v2/images/{image_id}/file"
        assert cloud.put(path, body=data, token=token, headers=octets).status == 204
    return image_id


def names(cloud: Cloud, token: str, query: str = "") -> list[str]:
    answer = cloud.get(f"{IMAGES}?{query}", token=token)
    assert answer.status == 200, answer.body
    return sorted(each["name"] for each in answer.json["images"])


def test_shown_and_listed(cloud: Cloud, token: str) -> None:
    server = "0c37a84a-c757-4f22-8c7f-0bf8b6970886"
    snapshot = {"image_type": "snapshot", "instance_uuid": server, "auto_disk_config": "True"}
    one = make(cloud, token, "one", min_disk=2, min_ram=64)
    make(cloud, token, "two", data=b"", **snapshot)
    shown = cloud.get(f"{IMAGES}/{one}", token=token)
    check(shown, "images", "get_image")
    view = shown.json["image"]
    assert (view["status"], view["progress"], view["minDisk"], view["minRam"]) == ("ACTIVE", 100, 2, 64)
    detail = cloud.get(f"{IMAGES}/detail?name=two", token=token)
    check(detail, "images", "list_images_details")
    (other,) = detail.json["images"]
    assert (other["status"], other["server"]["id"], other["OS-DCF:diskConfig"]) == ("SAVING", server, "AUTO")
    check(cloud.get(IMAGES, token=token), "images", "list_images")
    assert names(cloud, token) == ["one", "two"]
    assert names(cloud, token, "status=ACTIVE") == ["one"]
    assert names(cloud, token, "type=snapshot") == ["two"]
    assert names(cloud, token, f"server=http://x/servers/{server}") == ["two"]
    assert names(cloud, token, "minDisk=2") == ["one"]
    assert names(cloud, token, f"changes-since={view['created']}") == ["one", "two"]
    assert names(cloud, token, "changes-since=2036-01-01T00:00:00Z") == []
    page = cloud.get(f"{IMAGES}?limit=1", token=token).json
    assert len(page["images"]) == 1
    assert page["images_links"][0]["rel"] == "next"
    assert cloud.get(f"{IMAGES}?changes-since=x", token=token).status == 400
    assert cloud.delete(f"{IMAGES}/{one}", token=token).status == 204
    assert cloud.get(f"{IMAGES}/{one}", token=token).status == 404


def test_metadata(cloud: Cloud, token: str) -> None:
    path = f"{IMAGES}/{make(cloud, token, 'one')}/metadata"
    assert cloud.put(path, json={"metadata": {"a": "1", "b c": "2"}}, token=token).json == {
        "metadata": {"a": "1", "b c": "2"}
    }
    assert cloud.post(path, json={"metadata": {"d": "3"}}, token=token).json["metadata"]["a"] == "1"
    assert cloud.put(f"{path}/a", json={"meta": {"a": "9"}}, token=token).json == {"meta": {"a": "9"}}
    assert cloud.put(f"{path}/a", json={"meta": {"b": "9"}}, token=token).status == 400
    assert cloud.get(f"{path}/a", token=token).json == {"meta": {"a": "9"}}
    assert cloud.put(path, json={"metadata": {"d": "3"}}, token=token).json == {"metadata": {"d": "3"}}
    assert cloud.delete(f"{path}/d", token=token).status == 204
    assert cloud.delete(f"{path}/d", token=token).status == 404
    assert cloud.get(path, token=token).json == {"metadata": {}}
    many = {f"k{number}": "v" for number in range(200)}
    assert cloud.put(path, json={"metadata": many}, token=token).status == 403


def test_they_end_where_nova_ended_them(cloud: Cloud, token: str) -> None:
    new = {"X-OpenStack-Nova-API-Version": "2.36"}
    newer = {"X-OpenStack-Nova-API-Version": "2.39"}
    image_id = make(cloud, token, "one")
    assert cloud.get(IMAGES, token=token, headers=OLD).status == 200
    assert cloud.get(IMAGES, token=token, headers=new).status == 404
    assert cloud.get(f"{IMAGES}/{image_id}/metadata", token=token, headers=new).status == 200
    assert cloud.get(f"{IMAGES}/{image_id}/metadata", token=token, headers=newer).status == 404


def test_another_project_s_image_is_not_there(cloud: Cloud, token: str) -> None:
    image_id = make(cloud, token, "one", visibility="private")
    stranger = cloud.token(project_id="project-2")
    assert names(cloud, stranger) == []
    for path in ("", "/metadata", "/metadata/x"):
        assert cloud.get(f"{IMAGES}/{image_id}{path}", token=stranger).status == 404
    assert cloud.delete(f"{IMAGES}/{image_id}", token=stranger).status == 404
