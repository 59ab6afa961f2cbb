"""Images through the real app: registration, data, sharing, deletion."""

import hashlib
import struct
from pathlib import Path

import pytest

from node import sdk
from node.plugins import image as image_plugin
from node.plugins.image.image_sync import ImageSync
from node.testing import Answer, Cloud

OCTETS = {"Content-Type": "application/octet-stream"}
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path, [image_plugin])


def register(cloud: Cloud, token: str, **fields: object) -> dict[str, object]:
    body = {"name": "i", "disk_format": "raw", "container_format": "bare", **fields}
    answer = cloud.post("/image/v2/images", json=body, token=token)
    assert answer.status == 201, answer.body
    return answer.json


def upload(cloud: Cloud, token: str, image_id: object, data: bytes) -> Answer:
    return cloud.put(f"/image/v2/images/{image_id}/file", body=data, token=token, headers=OCTETS)


def qcow2(*, backing: int = 0, incompatible: int = 0, size: int = 1 << 30) -> bytes:
    header = b"QFI\xfb" + struct.pack(">IQIIQI", 3, backing, 0, 16, size, 0)
    header = header.ljust(72, b"\0") + struct.pack(">QQQII", incompatible, 0, 0, 4, 104)
    return header.ljust(4096, b"\0")


def test_data_comes_back_with_all_its_hashes(cloud: Cloud) -> None:
    token = cloud.token()
    image = register(cloud, token)
    assert image["status"] == "queued"
    data = bytes(range(256)) * 10_000
    assert upload(cloud, token, image["id"], data).status == 204
    shown = cloud.get(f"/image/v2/images/{image['id']}", token=token).json
    assert shown["status"] == "active"
    assert shown["size"] == len(data)
    assert shown["checksum"] == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert shown["os_hash_algo"] == "sha512"
    assert shown["os_hash_value"] == hashlib.sha512(data).hexdigest()
    fetched = cloud.get(f"/image/v2/images/{image['id']}/file", token=token)
    assert fetched.body == data
    part = cloud.get(f"/image/v2/images/{image['id']}/file", token=token, headers={"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, data[10:20])


def test_a_second_upload_is_a_conflict(cloud: Cloud) -> None:
    token = cloud.token()
    image = register(cloud, token)
    assert upload(cloud, token, image["id"], b"one").status == 204
    assert upload(cloud, token, image["id"], b"two").status == 409


def test_an_upload_of_another_media_type_is_refused_before_its_bytes(cloud: Cloud) -> None:
    token = cloud.token()
    image = register(cloud, token)
    answer = cloud.put(f"/image/v2/images/{image['id']}/file", json={"a": 1}, token=token)
    assert answer.status == 415
    assert cloud.get(f"/image/v2/images/{image['id']}", token=token).json["status"] == "queued"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (qcow2(backing=500), b"backing file"),
        (qcow2(incompatible=4), b"another file"),
        (qcow2(incompatible=1 << 40), b"not known"),
        (b"QFI\xfb\0\0", b"cut off"),
        (b"plain bytes" * 100, b"does not match"),
    ],
)
def test_dangerous_or_mislabelled_qcow2_is_refused(cloud: Cloud, data: bytes, reason: bytes) -> None:
    token = cloud.token()
    image = register(cloud, token, disk_format="qcow2")
    answer = upload(cloud, token, image["id"], data)
    assert answer.status == 400
    assert reason in answer.body
    shown = cloud.get(f"/image/v2/images/{image['id']}", token=token).json
    assert shown["status"] == "queued"
    assert list((cloud.directory / "images").glob(f"{image['id']}*")) == []


def test_a_qcow2_tells_its_virtual_size(cloud: Cloud) -> None:
    token = cloud.token()
    image = register(cloud, token, disk_format="qcow2")
    assert upload(cloud, token, image["id"], qcow2(size=5 << 30)).status == 204
    assert cloud.get(f"/image/v2/images/{image['id']}", token=token).json["virtual_size"] == 5 << 30


def test_another_project_sees_nothing_until_it_is_offered(cloud: Cloud) -> None:
    owner, other = cloud.token(), cloud.token(project_id="project-2")
    image = register(cloud, owner)
    path = f"/image/v2/images/{image['id']}"
    assert cloud.get(path, token=other).status == 404
    assert cloud.delete(path, token=other).status == 404
    assert cloud.post(f"{path}/members", json={"member": "project-2"}, token=owner).status == 200
    assert cloud.get(path, token=other).status == 200
    assert cloud.delete(path, token=other).status == 403
    assert cloud.get("/image/v2/images", token=other).json["images"] == []
    accepted = cloud.put(f"{path}/members/project-2", json={"status": "accepted"}, token=other)
    assert accepted.json["status"] == "accepted"
    assert [i["id"] for i in cloud.get("/image/v2/images", token=other).json["images"]] == [image["id"]]
    assert cloud.put(f"{path}/members/project-2", json={"status": "rejected"}, token=owner).status == 403


def test_only_an_administrator_publishes(cloud: Cloud) -> None:
    body = {"name": "p", "visibility": "public"}
    assert cloud.post("/image/v2/images", json=body, token=cloud.token()).status == 403
    admin = cloud.token(roles=("admin",))
    image = cloud.post("/image/v2/images", json=body, token=admin).json
    assert cloud.get(f"/image/v2/images/{image['id']}", token=cloud.token(project_id="x")).status == 200


def test_a_patch_changes_adds_and_removes(cloud: Cloud) -> None:
    token = cloud.token()
    image = register(cloud, token, colour="red")
    path = f"/image/v2/images/{image['id']}"
    changes = [
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "add", "path": "/os_distro", "value": "debian"},
        {"op": "remove", "path": "/colour"},
    ]
    answer = cloud.patch(path, json=changes, token=token, headers=PATCH)
    assert answer.status == 200, answer.body
    assert (answer.json["name"], answer.json["os_distro"]) == ("new", "debian")
    assert "colour" not in answer.json
    for change, status in (
        ({"op": "replace", "path": "/status", "value": "active"}, 403),
        ({"op": "remove", "path": "/nothing"}, 409),
        ({"op": "replace", "path": "name", "value": "x"}, 400),
        ({"op": "replace", "path": "/min_disk", "value": "x"}, 400),
        ({"op": "move", "path": "/name", "value": "x"}, 400),
    ):
        assert cloud.patch(path, json=[change], token=token, headers=PATCH).status == status, change
    assert cloud.patch(path, json=changes, token=token).status == 415


def test_listing_pages_sorts_and_filters(cloud: Cloud) -> None:
    token = cloud.token()
    for number in range(5):
        register(cloud, token, name=f"i{number}", min_ram=number, tags=["odd"] if number % 2 else [])
    first = cloud.get("/image/v2/images?limit=2&sort_key=name&sort_dir=asc", token=token).json
    assert [i["name"] for i in first["images"]] == ["i0", "i1"]
    second = cloud.get(f"/image{first['next']}", token=token).json
    assert [i["name"] for i in second["images"]] == ["i2", "i3"]
    tagged = cloud.get("/image/v2/images?tag=odd", token=token).json["images"]
    assert {i["name"] for i in tagged} == {"i1", "i3"}
    named = cloud.get("/image/v2/images?name=in:i1,i4", token=token).json["images"]
    assert {i["name"] for i in named} == {"i1", "i4"}
    for query in ("limit=-1", "sort_key=x", "sort_dir=up", "visibility=no", "marker=x", "protected=perhaps"):
        assert cloud.get(f"/image/v2/images?{query}", token=token).status == 400, query


def test_deactivated_data_is_out_of_reach_but_for_administrators(cloud: Cloud) -> None:
    token, admin = cloud.token(), cloud.token(roles=("admin",))
    image = register(cloud, token)
    path = f"/image/v2/images/{image['id']}"
    assert cloud.post(f"{path}/actions/deactivate", token=token).status == 403
    upload(cloud, token, image["id"], b"x")
    assert cloud.post(f"{path}/actions/deactivate", token=token).status == 204
    assert cloud.get(f"{path}/file", token=token).status == 403
    assert cloud.get(f"{path}/file", token=admin).body == b"x"
    assert cloud.post(f"{path}/actions/reactivate", token=token).status == 204
    assert cloud.get(f"{path}/file", token=token).body == b"x"


def test_staged_data_becomes_the_image_by_import(cloud: Cloud) -> None:
    token = cloud.token()
    image = register(cloud, token)
    path = f"/image/v2/images/{image['id']}"
    assert cloud.post(f"{path}/import", json={"method": {"name": "glance-direct"}}, token=token).status == 409
    assert cloud.put(f"{path}/stage", body=b"data", token=token, headers=OCTETS).status == 204
    assert cloud.get(path, token=token).json["status"] == "uploading"
    assert cloud.post(f"{path}/import", json={"method": {"name": "glance-direct"}}, token=token).status == 202
    assert cloud.get(path, token=token).json["status"] == "active"
    assert cloud.get(f"{path}/file", token=token).body == b"data"
    assert cloud.get(f"{path}/tasks", token=token).json["tasks"][0]["status"] == "success"


def test_deletion_removes_the_file_and_then_the_row(cloud: Cloud) -> None:
    token = cloud.token()
    image = register(cloud, token, protected=True)
    path = f"/image/v2/images/{image['id']}"
    upload(cloud, token, image["id"], b"x")
    assert cloud.delete(path, token=token).status == 403
    cloud.patch(path, json=[{"op": "replace", "path": "/protected", "value": False}], token=token, headers=PATCH)
    assert cloud.delete(path, token=token).status == 204
    assert cloud.get(path, token=token).status == 404
    cloud.reconcile(ImageSync(cloud.control))
    assert list((cloud.directory / "images").iterdir()) == []
    assert cloud.db.counter("quota:project-1:images") == 0


def test_a_file_without_a_row_is_set_aside_not_erased(cloud: Cloud) -> None:
    directory = cloud.directory / "images"
    directory.mkdir()
    (directory / "lost.data").write_bytes(b"precious")
    cloud.reconcile(ImageSync(cloud.control))
    assert (directory / "quarantine" / "lost.data").read_bytes() == b"precious"


def test_an_upload_whose_worker_died_is_given_up(cloud: Cloud) -> None:
    from node.plugins.image.tables import Image
    from node.sdk import patch

    token = cloud.token()
    image = register(cloud, token)
    cloud.commit(patch(Image, str(image["id"]), status="saving", upload="dead", node_id=cloud.control.node_id))
    (cloud.directory / "images").mkdir()
    part = cloud.directory / "images" / f"{image['id']}.dead.part"
    part.write_bytes(b"half")
    cloud.clock.advance(3600)
    cloud.reconcile(ImageSync(cloud.control))
    assert not part.exists()
    assert upload(cloud, token, image["id"], b"whole").status == 204


def test_versions_are_told_to_everyone(cloud: Cloud) -> None:
    assert cloud.get("/image/").status == 300
    assert cloud.get("/image/versions").json["versions"][0]["status"] == "CURRENT"
    assert cloud.get("/image/v2/schemas/image", token=cloud.token()).json["name"] == "image"


def test_compute_learns_whom_a_shared_image_is_offered_to(cloud: Cloud) -> None:
    owner = cloud.token()
    image = register(cloud, owner)
    cloud.post(f"/image/v2/images/{image['id']}/members", json={"member": "project-2"}, token=owner)
    facts = sdk.images_of(cloud.host.hook).facts(cloud.db, image["id"])
    assert facts is not None
    assert facts.members == ("project-2",)


def test_formats_need_not_match_where_the_operator_says_so(tmp_path: Path) -> None:
    text = f"[node]\nname = n\nstate_dir = {tmp_path}\n[image]\nrequire_image_format_match = false\n"
    cloud = Cloud(tmp_path, [image_plugin], config_text=text)
    token = cloud.token()
    for disk_format, data, status in (
        ("qcow2", b"no qcow2", 204),
        ("vmdk", qcow2(), 204),
        ("qcow2", qcow2(backing=1024), 400),
    ):
        image = register(cloud, token, disk_format=disk_format)
        assert upload(cloud, token, image["id"], data).status == status, (disk_format, status)
