"""Nova's old image API, with the real image plugin behind it."""

from pathlib import Path
from typing import Any

import pytest

from node.plugins import compute, image
from node.testing import Cloud
from tests.api.compute.schemas import check
from tests.api.compute.test_server_life import headers

IMAGES = "/compute/v2.1/images"
SERVER = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path, [compute, image])


@pytest.fixture
def token(cloud: Cloud) -> str:
    return cloud.token()


def made(cloud: Cloud, token: str, name: str, **fields: Any) -> str:
    body = {"name": name, "disk_format": "raw", "container_format": "bare", **fields}
    image_id = str(cloud.post("/image/v2/images", json=body, token=token).json["id"])
    octets = {"Content-Type": "application/octet-stream"}
    path = f"/image/v2/images/{image_id}/file"
    assert cloud.put(path, body=b"x" * 100, token=token, headers=octets).status == 204
    return image_id


def test_images_are_listed_and_filtered(cloud: Cloud, token: str) -> None:
    plain = made(cloud, token, "plain", min_ram=64)
    snapshot = made(cloud, token, "snap", image_type="snapshot", instance_uuid=SERVER)
    body = {"name": "empty", "disk_format": "raw", "container_format": "bare"}
    empty = cloud.post("/image/v2/images", json=body, token=token).json["id"]

    def ids(query: str = "") -> list[str]:
        path = f"{IMAGES}/detail{query}"
        found = check(cloud.get(path, token=token), "images", "list_images_details")
        return [entry["id"] for entry in found["images"]]

    assert ids() == [empty, snapshot, plain]
    assert ids("?status=ACTIVE") == [snapshot, plain]
    assert ids("?status=SAVING") == [empty]
    assert ids("?status=nonsense") == []
    assert ids("?name=plain") == ids("?minRam=64") == [plain]
    assert ids("?type=snapshot") == ids("?property-image_type=snapshot") == [snapshot]
    assert ids(f"?server={SERVER}") == [snapshot]
    assert ids(f"?server=https://cloud.test/compute/v2.1/servers/{SERVER}") == [snapshot]
    assert ids("?changes-since=2100-01-01T00:00:00Z") == []
    assert ids("?limit=0") == []
    page = check(cloud.get(f"{IMAGES}?limit=2", token=token), "images", "list_images")
    assert [entry["id"] for entry in page["images"]] == [empty, snapshot]
    assert f"marker={snapshot}" in page["images_links"][0]["href"]
    assert ids(f"?limit=2&marker={snapshot}") == [plain]
    assert cloud.get(f"{IMAGES}?limit=x", token=token).status == 400
    assert cloud.get(f"{IMAGES}?marker=none", token=token).status in (400, 404)


def test_an_image_is_shown_and_deleted(cloud: Cloud, token: str) -> None:
    image_id = made(cloud, token, "snap", instance_uuid=SERVER, auto_disk_config="True")
    path = f"{IMAGES}/{image_id}"
    shown = check(cloud.get(path, token=token), "images", "get_image")["image"]
    assert (shown["status"], shown["progress"], shown["OS-EXT-IMG-SIZE:size"]) == ("ACTIVE", 100, 100)
    assert shown["server"]["id"] == SERVER
    assert shown["OS-DCF:diskConfig"] == "AUTO"
    stranger = cloud.token(project_id="other")
    assert cloud.get(path, token=stranger).status == 404
    assert cloud.delete(path, token=stranger).status == 404
    assert cloud.delete(path, token=token).status == 204
    assert cloud.get(path, token=token).status == 404
    assert cloud.delete(path, token=token).status == 404


def test_metadata_of_images(cloud: Cloud, token: str) -> None:
    path = f"{IMAGES}/{made(cloud, token, 'i', os_version='1')}/metadata"

    def ask(method: str, at: str = "", body: Any = None, form: str = "image_metadata") -> Any:
        return check(cloud.request(method, path + at, json=body, token=token), "images", form)

    assert ask("GET") == {"metadata": {"os_version": "1"}}
    added = ask("POST", body={"metadata": {"a": "2", "os_version": "3"}})
    assert added == {"metadata": {"os_version": "3", "a": "2"}} == ask("GET")
    assert ask("PUT", body={"metadata": {"b": "4"}}) == {"metadata": {"b": "4"}} == ask("GET")
    assert ask("PUT", "/b", {"meta": {"b": "5"}}, "image_meta_item") == {"meta": {"b": "5"}}
    assert ask("GET", "/b", form="image_meta_item") == {"meta": {"b": "5"}}
    assert cloud.put(path + "/b", json={"meta": {"c": "5"}}, token=token).status == 400
    assert cloud.get(path + "/none", token=token).status == 404
    assert cloud.delete(path + "/none", token=token).status == 404
    assert cloud.delete(path + "/b", token=token).status == 204
    assert ask("GET") == {"metadata": {}}
    body = {"metadata": {"k" * 256: "v"}}
    assert cloud.post(path, json=body, token=token).status == 400
    unknown = f"{IMAGES}/{SERVER}/metadata"
    for method in ("GET", "POST", "PUT"):
        more = None if method == "GET" else {"metadata": {"a": "b"}}
        assert cloud.request(method, unknown, json=more, token=token).status == 404


def test_they_end_with_their_microversions(cloud: Cloud, token: str) -> None:
    path = f"{IMAGES}/{made(cloud, token, 'i')}"
    for minor, images, metadata in ((35, 200, 200), (36, 404, 200), (38, 404, 200), (39, 404, 404)):
        more: dict[str, Any] = {"token": token, "headers": headers((2, minor))}
        assert cloud.get(path, **more).status == images
        assert cloud.get(path + "/metadata", **more).status == metadata
