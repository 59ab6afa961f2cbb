"""Volumes through the real app and the real reconcilers."""

import uuid

import pytest

from tests.api.volume.conftest import PAST, World, at
from tests.api.volume.schemas import check

GIB = 1 << 30


def hexed(world: World) -> None:
    """Give the caller ids that Tempest's schemas take for UUIDs."""
    world.token = world.cloud.token(project_id=uuid.uuid4().hex, user_id=uuid.uuid4().hex)


def test_a_volume_lives_as_cinder_shows_it(world: World) -> None:
    hexed(world)
    body = {"volume": {"size": 1, "name": "v", "metadata": {"a": "b"}}}
    made = check(world.call("POST", "/volumes", body), "volumes", "create_volume")["volume"]
    assert made["status"] == "creating"
    world.settle()
    path = f"/volumes/{made['id']}"
    shown = check(world.call("GET", path), "volumes", "show_volume")["volume"]
    assert (shown["status"], shown["bootable"], shown["metadata"]) == (
        "available",
        "false",
        {"a": "b"},
    )
    check(world.call("GET", "/volumes"), "volumes", "list_volumes_no_detail")
    listed = check(world.call("GET", "/volumes/detail"), "volumes", "list_volumes_with_detail")
    assert [one["id"] for one in listed["volumes"]] == [made["id"]]
    change = {"volume": {"name": "w", "description": "d"}}
    assert (
        check(world.call("PUT", path, change), "volumes", "update_volume")["volume"]["name"] == "w"
    )
    summary = world.call("GET", "/volumes/summary", headers=at("3.36"))
    assert check(summary, "volumes", "show_volume_summary")["volume-summary"]["total_size"] == 1
    check(world.call("DELETE", path), "volumes", "delete_volume")
    assert world.shown(made["id"])["status"] == "deleting"
    world.settle()
    assert world.call("GET", path).status == 404
    assert world.driver.volumes == {}


@pytest.mark.parametrize("minor", [61, 63, 64, 65, 69])
def test_later_microversions_show_what_they_added(world: World, minor: int) -> None:
    hexed(world)
    world.made()
    answer = world.call("GET", "/volumes/detail", headers=at(f"3.{minor}"))
    check(answer, "volumes", "list_volumes_with_detail", minor)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"size": 0}, 400),
        ({"size": -1}, 400),
        ({"size": "#$%"}, 400),
        ({}, 400),
        ({"size": 1, "snapshot_id": str(uuid.uuid4())}, 404),
        ({"size": 1, "source_volid": str(uuid.uuid4())}, 404),
        ({"size": 1, "volume_type": str(uuid.uuid4())}, 404),
        ({"size": 1, "availability_zone": "mars"}, 400),
        ({"size": 1, "imageRef": str(uuid.uuid4())}, 400),
        ({"size": 1, "multiattach": True}, 400),
        ({"size": 1001}, 413),
    ],
)
def test_what_cannot_be_made_is_refused(
    world: World, fields: dict[str, object], status: int
) -> None:
    answer = world.call("POST", "/volumes", {"volume": fields})
    assert answer.status == status, answer.body
    fault = next(iter(answer.json.values()))
    assert fault["code"] == status
    if status == 413:
        assert answer.json["overLimit"]["message"].startswith("VolumeSizeExceedsAvailableQuota")


def test_volumes_from_volumes_and_snapshots(world: World) -> None:
    first = world.made(size=2)
    world.write(first["id"], 100, b"contents")
    clone = world.made(size=3, source_volid=first["id"])
    assert (clone["size"], clone["source_volid"]) == (3, first["id"])
    assert world.read(clone["id"], 100, 8) == b"contents"
    small = {"volume": {"size": 1, "source_volid": first["id"]}}
    assert world.call("POST", "/volumes", small).status == 400
    made = world.call("POST", "/snapshots", {"snapshot": {"volume_id": first["id"]}})
    snapshot = made.json["snapshot"]["id"]
    world.settle()
    world.write(first["id"], 100, b"changed!")
    other = world.made(size=2, snapshot_id=snapshot)
    assert world.read(other["id"], 100, 8) == b"contents"
    assert world.call("DELETE", f"/volumes/{first['id']}").status == 400  # it has a snapshot
    assert world.call("DELETE", f"/volumes/{first['id']}?cascade=true").status == 202
    world.settle()
    assert world.call("GET", f"/volumes/{first['id']}").status == 404
    assert world.call("GET", f"/snapshots/{snapshot}").status == 404


def test_a_volume_from_an_image_is_bootable_and_remembers_it(world: World) -> None:
    image = {
        "name": "i",
        "disk_format": "raw",
        "container_format": "bare",
        "os": "x",
        "min_ram": 64,
    }
    made = world.cloud.post("/image/v2/images", json=image, token=world.token).json["id"]
    octets = {"Content-Type": "application/octet-stream"}
    data = b"boot" * 1024
    path = f"/image/v2/images/{made}/file"
    assert world.cloud.put(path, body=data, token=world.token, headers=octets).status == 204
    volume = world.made(imageRef=made)
    assert volume["status"] == "available"
    assert volume["bootable"] == "true"
    assert volume["volume_image_metadata"]["image_id"] == made
    assert volume["volume_image_metadata"]["min_ram"] == "64"
    assert world.read(volume["id"], 0, 4096) == data
    upload = {"image_name": "back", "disk_format": "raw"}
    answer = world.act(volume["id"], "os-volume_upload_image", upload)
    assert answer.status == 202, answer.body
    assert world.shown(volume["id"])["status"] == "uploading"
    world.settle()
    back = answer.json["os-volume_upload_image"]["image_id"]
    shown = world.cloud.get(f"/image/v2/images/{back}", token=world.token).json
    assert (shown["status"], shown["size"]) == ("active", GIB)
    metadata = {"metadata": {"k": "v"}}
    assert world.act(volume["id"], "os-set_image_metadata", metadata).json["metadata"]["k"] == "v"
    assert world.act(volume["id"], "os-unset_image_metadata", {"key": "k"}).status == 200
    assert "k" not in world.act(volume["id"], "os-show_image_metadata").json["metadata"]


def test_a_volume_grows_and_its_quota_with_it(world: World) -> None:
    volume = world.made()["id"]
    assert world.act(volume, "os-extend", {"new_size": 1}).status == 400
    assert world.act(volume, "os-extend", {"new_size": "x"}).status == 400
    assert world.act(volume, "os-extend", {"new_size": 2000}).status == 413
    assert world.act(volume, "os-extend", {"new_size": 3}).status == 202
    assert world.shown(volume)["status"] == "extending"
    assert world.call("DELETE", f"/volumes/{volume}").status == 400
    world.settle()
    assert (world.shown(volume)["size"], world.shown(volume)["status"]) == (3, "available")
    usage = world.call("GET", "/os-quota-sets/project-1?usage=true").json["quota_set"]
    assert usage["gigabytes"]["in_use"] == 3
    world.call("DELETE", f"/volumes/{volume}")
    world.settle()
    usage = world.call("GET", "/os-quota-sets/project-1?usage=true").json["quota_set"]
    assert (usage["gigabytes"]["in_use"], usage["volumes"]["in_use"]) == (0, 0)


def test_a_failed_extension_gives_its_quota_back(world: World) -> None:
    volume = world.made()["id"]
    world.driver.volumes.pop(volume)
    assert world.act(volume, "os-extend", {"new_size": 3}).status == 202
    world.settle()
    assert world.shown(volume)["status"] == "error_extending"
    usage = world.call("GET", "/os-quota-sets/project-1?usage=true").json["quota_set"]
    assert usage["gigabytes"]["in_use"] == 1
    found = world.call("GET", "/messages", headers=PAST).json["messages"]
    assert [one["resource_uuid"] for one in found] == [volume]


def test_administrators_reset_and_force(world: World) -> None:
    volume = world.made()["id"]
    assert world.act(volume, "os-reset_status", {"status": "error"}).status == 403
    assert (
        world.act(volume, "os-reset_status", {"status": "nonsense"}, token=world.admin).status
        == 400
    )
    for wanted in ("error", "maintenance", "attaching", "available"):
        body = {"status": wanted}
        assert world.act(volume, "os-reset_status", body, token=world.admin).status == 202
        assert world.shown(volume)["status"] == wanted
    world.act(volume, "os-reset_status", {"status": "maintenance"}, token=world.admin)
    assert world.call("DELETE", f"/volumes/{volume}").status == 400
    assert world.act(volume, "os-force_delete", {}, token=world.admin).status == 202
    world.settle()
    assert world.call("GET", f"/volumes/{volume}").status == 404


def test_flags(world: World) -> None:
    volume = world.made()["id"]
    assert world.act(volume, "os-set_bootable", {"bootable": "true"}).status == 200
    assert world.shown(volume)["bootable"] == "true"
    assert world.act(volume, "os-update_readonly_flag", {"readonly": True}).status == 202
    assert world.shown(volume)["metadata"] == {"readonly": "True"}
    attach = {"instance_uuid": str(uuid.uuid4()), "mountpoint": "/dev/vdb", "mode": "rw"}
    assert world.act(volume, "os-attach", attach).status == 400
    assert world.act(volume, "os-attach", {**attach, "mode": "ro"}).status == 202


def test_lists_filter_sort_and_page(world: World) -> None:
    ids = [world.made(name=f"n{size}", size=size)["id"] for size in (1, 2, 3)]

    def listed(query: str, **more: object) -> list[str]:
        answer = world.call("GET", f"/volumes?{query}", **more)
        assert answer.status == 200, answer.body
        return [one["id"] for one in answer.json["volumes"]]

    assert listed("") == ids[::-1]
    assert listed("sort=size:asc") == ids
    assert listed("sort_key=size&sort_dir=desc") == ids[::-1]
    assert listed("name=n2") == [ids[1]]
    assert listed("status=available&size=3") == [ids[2]]
    assert listed("name~=N", headers=at("3.31")) == ids[::-1]
    assert listed("bootable=true") == []
    assert listed("limit=1&marker=" + ids[2]) == [ids[1]]
    first = world.call("GET", "/volumes?limit=2").json
    assert "marker=" + ids[1] in first["volumes_links"][0]["href"]
    counted = world.call("GET", "/volumes?limit=1&with_count=true", headers=at("3.45")).json
    assert counted["count"] == 3
    for bad in ("limit=-1", "sort=nonsense", "sort_dir=up", "bootable=perhaps"):
        assert world.call("GET", f"/volumes?{bad}").status == 400
    assert world.call("GET", f"/volumes?marker={uuid.uuid4()}").status == 404
    stranger = world.cloud.token(project_id="project-2")
    assert listed("", token=stranger) == []
    assert world.call("GET", f"/volumes/{ids[0]}", token=stranger).status == 404
    assert len(listed("all_tenants=1", token=world.admin)) == 3


def test_the_project_in_the_path_must_be_the_tokens(world: World) -> None:
    volume = world.made()["id"]
    assert world.call("GET", f"/project-1/volumes/{volume}").status == 200
    assert world.call("GET", f"/project-2/volumes/{volume}").status == 400


def test_metadata_is_set_item_by_item(world: World) -> None:
    volume = world.made(metadata={"a": "1"})["id"]
    path = f"/volumes/{volume}/metadata"
    more = {"metadata": {"b": "2"}}
    assert world.call("POST", path, more).json == {"metadata": {"a": "1", "b": "2"}}
    assert world.call("PUT", path, more).json == {"metadata": {"b": "2"}}
    assert world.call("PUT", f"{path}/c", {"meta": {"c": "3"}}).json == {"meta": {"c": "3"}}
    assert world.call("PUT", f"{path}/c", {"meta": {"d": "3"}}).status == 400
    assert world.call("GET", f"{path}/c").json == {"meta": {"c": "3"}}
    assert world.call("DELETE", f"{path}/c").status == 200
    assert world.call("GET", f"{path}/c").status == 404


def test_no_backend_is_said_by_status_and_message(world: World) -> None:
    world.settle()
    kind = {"volume_type": {"name": "odd", "extra_specs": {"vendor_name": "nobody"}}}
    assert world.call("POST", "/types", kind, token=world.admin).status == 200
    made = world.call("POST", "/volumes", {"volume": {"size": 1, "volume_type": "odd"}}).json
    volume = made["volume"]["id"]
    assert world.shown(volume)["status"] == "error"
    found = world.call("GET", "/messages", headers=at("3.3")).json["messages"]
    assert found[0]["user_message"].startswith("schedule allocate volume")
    assert world.call("DELETE", f"/messages/{found[0]['id']}", headers=at("3.3")).status == 204
    assert world.call("DELETE", f"/volumes/{volume}").status == 202
    assert world.call("GET", f"/volumes/{volume}").status == 404


def test_a_full_pool_takes_no_more(world: World) -> None:
    world.driver.total_gib = 2.0
    world.made(size=2)
    answer = world.call("POST", "/volumes", {"volume": {"size": 1}})
    assert world.shown(answer.json["volume"]["id"])["status"] == "error"
