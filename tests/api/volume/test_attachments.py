"""Who holds a volume: the old way and the new way, and the races between them."""

import uuid
from collections.abc import Callable
from typing import Any

from node.plugins.block.tables import VolumeAttachment
from tests.api.volume.conftest import World, at

NEW = at("3.44")


def hold(world: World, volume: str, server: str = "", **fields: Any) -> Any:
    body = {
        "attachment": {
            "volume_uuid": volume,
            "instance_uuid": server or str(uuid.uuid4()),
            **fields,
        }
    }
    return world.call("POST", "/attachments", body, headers=NEW)


def test_an_attachment_goes_through_its_states(world: World) -> None:
    volume = world.made()["id"]
    made = hold(world, volume).json["attachment"]
    assert (made["status"], world.shown(volume)["status"]) == ("reserved", "reserved")
    path = f"/attachments/{made['id']}"
    connector = {
        "attachment": {"connector": {"host": "vm", "initiator": "x", "mountpoint": "/dev/vdb"}}
    }
    shown = world.call("PUT", path, connector, headers=NEW).json["attachment"]
    assert shown["status"] == "attaching"
    assert shown["connection_info"]["volume_id"] == volume
    assert world.shown(volume)["status"] == "attaching"
    assert world.call("POST", f"{path}/action", {"os-complete": None}, headers=NEW).status == 204
    seen = world.shown(volume)
    assert seen["status"] == "in-use"
    assert seen["attachments"][0]["device"] == "/dev/vdb"
    assert world.call("DELETE", f"/volumes/{volume}").status == 400
    assert hold(world, volume).status == 400
    listed = world.call("GET", f"/attachments?volume_id={volume}", headers=NEW).json["attachments"]
    assert [one["id"] for one in listed] == [made["id"]]
    assert world.call("DELETE", path, headers=NEW).json == {"attachments": []}
    assert world.shown(volume)["status"] == "available"


def test_a_shared_volume_is_held_by_several(world: World) -> None:
    kind = {"volume_type": {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}}
    assert world.call("POST", "/types", kind, token=world.admin).status == 200
    volume = world.made(volume_type="shared")
    assert volume["multiattach"] is True
    server = str(uuid.uuid4())
    first = hold(world, volume["id"], server).json["attachment"]["id"]
    assert hold(world, volume["id"], server).status == 400
    second = hold(world, volume["id"]).json["attachment"]["id"]
    for one in (first, second):
        assert world.call("DELETE", f"/attachments/{one}", headers=NEW).status == 200
    assert world.shown(volume["id"])["status"] == "available"


def test_the_old_way(world: World) -> None:
    volume, server = world.made()["id"], str(uuid.uuid4())
    assert world.act(volume, "os-reserve").status == 202
    assert world.shown(volume)["status"] == "attaching"
    assert world.act(volume, "os-reserve").status == 400
    assert world.act(volume, "os-unreserve").status == 202
    assert world.shown(volume)["status"] == "available"
    attach = {"instance_uuid": server, "mountpoint": "/dev/vdc"}
    assert world.act(volume, "os-attach", attach).status == 202
    shown = world.shown(volume)
    assert shown["status"] == "in-use"
    assert shown["attachments"][0]["server_id"] == server
    assert world.act(volume, "os-begin_detaching").status == 202
    assert world.act(volume, "os-roll_detaching").status == 202
    assert world.act(volume, "os-detach", {}).status == 202
    assert world.shown(volume)["status"] == "available"
    connect = {"connector": {"host": "vm", "initiator": "i"}}
    info = world.act(volume, "os-initialize_connection", connect).json["connection_info"]
    assert info["data"]["volume_id"] == volume
    assert world.act(volume, "os-terminate_connection", connect).status == 202


def during(world: World, race: Callable[[], None]) -> None:
    """Have something happen between the plan of the next request and its commit."""
    propose = world.cloud.proposer.propose
    done = []

    def slow(txn: Any, timeout_s: float = 10.0) -> Any:
        if not done:
            done.append(True)
            race()
        return propose(txn, timeout_s)

    world.cloud.backend.proposer.propose = slow  # type: ignore[method-assign]


def test_a_volume_that_is_being_deleted_is_not_held(world: World) -> None:
    volume = world.made()["id"]
    during(world, lambda: assert_deleted(world, volume))
    assert hold(world, volume).status == 400
    assert world.cloud.db.count(VolumeAttachment) == 0


def assert_deleted(world: World, volume: str) -> None:
    assert world.call("DELETE", f"/volumes/{volume}").status == 202


def test_a_volume_that_is_being_held_is_not_deleted(world: World) -> None:
    volume = world.made()["id"]
    during(world, lambda: assert_held(world, volume))
    assert world.call("DELETE", f"/volumes/{volume}").status == 400
    assert world.shown(volume)["status"] == "reserved"


def assert_held(world: World, volume: str) -> None:
    assert hold(world, volume).status == 200


def test_a_snapshot_wins_against_a_deletion(world: World) -> None:
    volume = world.made()["id"]

    def race() -> None:
        body = {"snapshot": {"volume_id": volume}}
        assert world.call("POST", "/snapshots", body).status == 202

    during(world, race)
    assert world.call("DELETE", f"/volumes/{volume}").status == 400
