"""Snapshots, backups and transfers."""

import base64
import json
import uuid
from typing import Any

from tests.api.volume.conftest import World, at
from tests.api.volume.schemas import check


def hexed(world: World) -> None:
    world.token = world.cloud.token(project_id=uuid.uuid4().hex, user_id=uuid.uuid4().hex)


def snapshot(world: World, volume_id: str, **fields: Any) -> Any:
    body = {"snapshot": {"volume_id": volume_id, **fields}}
    made = check(world.call("POST", "/snapshots", body), "snapshots", "create_snapshot")
    world.settle()
    return made["snapshot"]


def test_a_snapshot_lives(world: World) -> None:
    hexed(world)
    volume = world.made()["id"]
    made = snapshot(world, volume, name="s", metadata={"a": "b"})
    path = f"/snapshots/{made['id']}"
    shown = check(world.call("GET", path), "snapshots", "show_snapshot")["snapshot"]
    assert shown["status"] == "available"
    assert shown["os-extended-snapshot-attributes:progress"] == "100%"
    check(world.call("GET", "/snapshots"), "snapshots", "list_snapshots_no_detail")
    check(world.call("GET", "/snapshots/detail"), "snapshots", "list_snapshots_with_detail")
    changed = world.call("PUT", path, {"snapshot": {"name": "t"}})
    assert check(changed, "snapshots", "update_snapshot")["snapshot"]["name"] == "t"
    assert world.call("GET", f"{path}/metadata").json == {"metadata": {"a": "b"}}
    world.write(volume, 0, b"after")
    assert (
        world.act(volume, "revert", {"snapshot_id": made["id"]}, headers=at("3.40")).status == 202
    )
    assert world.shown(volume)["status"] == "reverting"
    world.settle()
    assert world.read(volume, 0, 5) == bytes(5)
    check(world.call("DELETE", path), "snapshots", "delete_snapshot")
    world.settle()
    assert world.call("GET", path).status == 404
    assert world.driver.snapshots == {}


def test_a_volume_in_use_is_snapshotted_by_force_only(world: World) -> None:
    volume = world.made()["id"]
    world.act(volume, "os-attach", {"instance_uuid": str(uuid.uuid4()), "mountpoint": "/dev/vdb"})
    body = {"snapshot": {"volume_id": volume}}
    assert world.call("POST", "/snapshots", body).status == 400
    assert world.call("POST", "/snapshots", body, headers=at("3.66")).status == 202
    forced = {"snapshot": {"volume_id": volume, "force": True}}
    assert world.call("POST", "/snapshots", forced).status == 202
    unforced = {"snapshot": {"volume_id": volume, "force": False}}
    assert world.call("POST", "/snapshots", unforced, headers=at("3.66")).status == 400
    world.settle()
    assert world.call("DELETE", f"/volumes/{volume}").status == 400


def backup(world: World, volume_id: str, **fields: Any) -> Any:
    body = {"backup": {"volume_id": volume_id, **fields}}
    made = check(world.call("POST", "/backups", body), "backups", "create_backup")["backup"]
    world.settle()
    shown = check(world.call("GET", f"/backups/{made['id']}"), "backups", "show_backup")
    return shown["backup"]


def test_backups_store_equal_pieces_once_and_bring_them_back(world: World) -> None:
    hexed(world)
    volume = world.made(metadata={"m": "1"})["id"]
    for place in range(8):
        world.write(volume, place << 20, bytes([place + 1]) * 65536)
    full = backup(world, volume)
    assert (full["status"], full["object_count"], full["is_incremental"]) == ("available", 8, False)
    assert world.shown(volume)["status"] == "available"
    world.write(volume, 9 << 20, b"\x2a" * 65536)
    more = backup(world, volume, incremental=True)
    assert (more["object_count"], more["is_incremental"]) == (1, True)
    assert world.call("GET", f"/backups/{full['id']}").json["backup"]["has_dependent_backups"]
    assert world.call("DELETE", f"/backups/{full['id']}").status == 400

    answer = world.call("POST", f"/backups/{more['id']}/restore", {"restore": {}})
    restored = check(answer, "backups", "restore_backup")["restore"]["volume_id"]
    world.settle()
    assert world.shown(restored)["metadata"] == {"m": "1"}
    assert world.read(restored, 3 << 20, 2) == b"\x04\x04"
    assert world.read(restored, 9 << 20, 2) == b"\x2a\x2a"
    into = {"restore": {"volume_id": restored}}
    world.write(restored, 20 << 20, b"not in it")
    assert world.call("POST", f"/backups/{full['id']}/restore", into).status == 202
    world.settle()
    assert world.read(restored, 9 << 20, 2) == bytes(2)
    assert world.read(restored, 20 << 20, 9) == bytes(9)

    for one in (more, full):
        assert world.call("DELETE", f"/backups/{one['id']}").status == 202
        world.settle()
    left = world.cloud.directory / "block" / "backups" / "pieces"
    assert [path for path in left.rglob("*") if path.is_file()] == []


def test_a_record_brings_a_backup_back(world: World) -> None:
    volume = world.made()["id"]
    world.write(volume, 0, b"kept" * 100)
    made = world.call("POST", "/backups", {"backup": {"volume_id": volume}}).json["backup"]["id"]
    world.settle()
    path = f"/backups/{made}/export_record"
    record = world.call("GET", path, token=world.admin).json["backup-record"]
    said = json.loads(base64.b64decode(record["backup_url"]))
    said["id"] = str(uuid.uuid4())
    body = {
        "backup-record": {
            **record,
            "backup_url": base64.b64encode(json.dumps(said).encode()).decode(),
        }
    }
    imported = world.call("POST", "/backups/import_record", body, token=world.admin)
    assert imported.status == 201, imported.body
    world.settle()
    assert world.call("GET", f"/backups/{said['id']}").json["backup"]["status"] == "available"
    assert world.call("DELETE", f"/backups/{made}").status == 202
    world.settle()
    answer = world.call("POST", f"/backups/{said['id']}/restore", {"restore": {}})
    world.settle()
    assert world.read(answer.json["restore"]["volume_id"], 0, 4) == b"kept"
    bad = {"backup-record": {**record, "backup_url": "AAAA"}}
    assert world.call("POST", "/backups/import_record", bad, token=world.admin).status == 400


def test_a_damaged_backup_is_said_to_be(world: World) -> None:
    volume = world.made()["id"]
    world.write(volume, 0, b"kept" * 100)
    made = world.call("POST", "/backups", {"backup": {"volume_id": volume}}).json["backup"]["id"]
    world.settle()
    store = world.cloud.directory / "block" / "backups" / "pieces"
    piece = next(path for path in store.rglob("*") if path.is_file())
    piece.write_bytes(piece.read_bytes()[:-3])
    answer = world.call("POST", f"/backups/{made}/restore", {"restore": {}})
    world.settle()
    assert world.shown(answer.json["restore"]["volume_id"])["status"] == "error"
    assert world.call("GET", f"/backups/{made}").json["backup"]["status"] == "available"


def test_a_volume_moves_to_another_project(world: World) -> None:
    hexed(world)
    volume = world.made()["id"]
    snapshot(world, volume)
    body = {"transfer": {"volume_id": volume, "name": "t"}}
    answer = world.call("POST", "/os-volume-transfer", body)
    made = check(answer, "transfers", "create_volume_transfer")["transfer"]
    assert world.shown(volume)["status"] == "awaiting-transfer"
    listed = world.call("GET", "/os-volume-transfer/detail")
    check(listed, "transfers", "list_volume_transfers_with_detail")
    other = world.cloud.token(project_id=uuid.uuid4().hex)
    path = f"/os-volume-transfer/{made['id']}/accept"
    wrong = {"accept": {"auth_key": "guess"}}
    assert world.call("POST", path, wrong, token=other).status == 400
    key = {"accept": {"auth_key": made["auth_key"]}}
    accepted = world.call("POST", path, key, token=other)
    check(accepted, "transfers", "accept_volume_transfer")
    assert world.call("GET", f"/volumes/{volume}").status == 404
    assert world.shown(volume, token=other)["status"] == "available"
    assert len(world.call("GET", "/snapshots", token=other).json["snapshots"]) == 1
    used = world.call("GET", "/limits", token=other).json["limits"]["absolute"]
    assert (used["totalVolumesUsed"], used["totalGigabytesUsed"]) == (1, 2)
    used = world.call("GET", "/limits").json["limits"]["absolute"]
    assert (used["totalVolumesUsed"], used["totalGigabytesUsed"]) == (0, 0)


def test_an_offer_is_taken_back(world: World) -> None:
    volume = world.made()["id"]
    body = {"transfer": {"volume_id": volume, "no_snapshots": True}}
    made = world.call("POST", "/volume-transfers", body, headers=at("3.57")).json["transfer"]
    assert made["no_snapshots"] is True
    assert world.call("DELETE", f"/volumes/{volume}").status == 400
    assert world.call("DELETE", f"/volume-transfers/{made['id']}", headers=at("3.57")).status == 202
    assert world.shown(volume)["status"] == "available"


def test_a_volume_is_left_behind_and_taken_over(world: World) -> None:
    world.settle()
    volume = world.made()["id"]
    world.write(volume, 0, b"mine")
    assert world.act(volume, "os-unmanage", {}, token=world.admin).status == 202
    world.settle()
    assert world.call("GET", f"/volumes/{volume}").status == 404
    listed = world.call("GET", "/manageable_volumes?host=vm@memory", token=world.admin).json
    assert listed["manageable-volumes"][0]["safe_to_manage"]
    reference = listed["manageable-volumes"][0]["reference"]
    body = {"volume": {"host": "vm@memory#memory", "ref": reference, "name": "again"}}
    made = world.call("POST", "/os-volume-manage", body, token=world.admin)
    assert made.status == 202, made.body
    world.settle()
    assert world.read(made.json["volume"]["id"], 0, 4) == b"mine"
    nothing = {"volume": {"host": "vm@memory", "ref": {"source-name": "no"}}}
    assert world.call("POST", "/os-volume-manage", nothing, token=world.admin).status == 400
