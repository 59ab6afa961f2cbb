"""Volume types, QoS specs, groups and their types, quotas."""

import uuid
from typing import Any

from tests.api.volume.conftest import World, at
from tests.api.volume.schemas import check


def admin(world: World, method: str, path: str, body: Any = None, **more: Any) -> Any:
    return world.call(method, path, body, token=world.admin, **more)


def a_type(world: World, **fields: Any) -> Any:
    body = {"volume_type": {"name": uuid.uuid4().hex, **fields}}
    return check(admin(world, "POST", "/types", body), "volume_types", "create_volume_type")[
        "volume_type"
    ]


def test_a_type_and_its_specs(world: World) -> None:
    kind = a_type(world, extra_specs={"a": "1"}, description="d")
    path = f"/types/{kind['id']}"
    check(admin(world, "GET", path), "volume_types", "show_volume_type")
    check(world.call("GET", "/types"), "volume_types", "list_volume_types")
    body = {"extra_specs": {"b": "2"}}
    check(
        admin(world, "POST", f"{path}/extra_specs", body),
        "volume_types",
        "create_volume_types_extra_specs",
    )
    assert admin(world, "GET", f"{path}/extra_specs/b").json == {"b": "2"}
    assert admin(world, "PUT", f"{path}/extra_specs/b", {"b": "3"}).json == {"b": "3"}
    assert admin(world, "PUT", f"{path}/extra_specs/b", {"c": "3"}).status == 400
    assert admin(world, "PUT", f"{path}/extra_specs/b", {"b": "3", "c": "4"}).status == 400
    assert admin(world, "DELETE", f"{path}/extra_specs/b").status == 202
    assert admin(world, "GET", f"{path}/extra_specs/b").status == 404
    assert world.call("GET", path).json["volume_type"]["extra_specs"] == {}  # not for members
    again = {"volume_type": {"name": kind["name"]}}
    assert admin(world, "POST", "/types", again).status == 409
    assert world.call("POST", "/types", again).status == 403
    volume = world.made(volume_type=kind["name"])
    assert volume["volume_type"] == kind["name"]
    assert admin(world, "DELETE", path).status == 400
    world.call("DELETE", f"/volumes/{volume['id']}")
    world.settle()
    check(admin(world, "DELETE", path), "volume_types", "delete_volume_type")


def test_a_private_type_is_for_its_projects(world: World) -> None:
    kind = a_type(world, **{"os-volume-type-access:is_public": False})
    create = {"volume": {"size": 1, "volume_type": kind["id"]}}
    assert world.call("POST", "/volumes", create).status == 404
    access = {"addProjectAccess": {"project": "project-1"}}
    path = f"/types/{kind['id']}"
    assert admin(world, "POST", f"{path}/action", access).status == 202
    assert admin(world, "POST", f"{path}/action", access).status == 409
    listed = admin(world, "GET", f"{path}/os-volume-type-access").json["volume_type_access"]
    assert listed == [{"volume_type_id": kind["id"], "project_id": "project-1"}]
    assert world.call("POST", "/volumes", create).status == 202
    gone = {"removeProjectAccess": {"project": "project-1"}}
    assert admin(world, "POST", f"{path}/action", gone).status == 202
    assert world.call("POST", "/volumes", create).status == 404


def test_encryption_is_of_types_without_volumes(world: World) -> None:
    kind = a_type(world)
    path = f"/types/{kind['id']}/encryption"
    assert check(admin(world, "GET", path), "encryption_types", "show_encryption_type") == {}
    body = {"encryption": {"provider": "luks", "control_location": "front-end", "key_size": 256}}
    made = check(admin(world, "POST", path, body), "encryption_types", "create_encryption_type")
    change = {"encryption": {"key_size": 512}}
    one = f"{path}/{made['encryption']['encryption_id']}"
    check(admin(world, "PUT", one, change), "encryption_types", "update_encryption_type")
    assert admin(world, "GET", f"{path}/key_size").json == {"key_size": 512}
    check(admin(world, "DELETE", one), "encryption_types", "delete_encryption_type")
    assert admin(world, "GET", path).json == {}


def test_qos_reaches_the_driver(world: World) -> None:
    body = {"qos_specs": {"name": "q", "consumer": "back-end", "total_iops_sec": "100"}}
    made = check(admin(world, "POST", "/qos-specs", body), "qos", "show_qos")["qos_specs"]
    path, kind = f"/qos-specs/{made['id']}", a_type(world)["id"]
    check(admin(world, "GET", "/qos-specs"), "qos", "list_qos")
    check(admin(world, "PUT", path, {"qos_specs": {"read_bytes_sec": "5"}}), "qos", "set_qos_key")
    keys = {"keys": ["read_bytes_sec"]}
    check(admin(world, "PUT", f"{path}/delete_keys", keys), "qos", "unset_qos_key")
    check(admin(world, "GET", f"{path}/associate?vol_type_id={kind}"), "qos", "associate_qos")
    found = check(admin(world, "GET", f"{path}/associations"), "qos", "show_association_qos")
    assert [one["id"] for one in found["qos_associations"]] == [kind]
    volume = world.made(volume_type=kind)["id"]
    assert world.driver.limits[volume].total_iops == 100
    plain = world.made()["id"]
    assert plain not in world.driver.limits
    retype = {"new_type": kind, "migration_policy": "never"}
    assert world.act(plain, "os-retype", retype).status == 202
    world.settle()
    assert world.driver.limits[plain].total_iops == 100
    assert admin(world, "DELETE", path).status == 400
    check(admin(world, "GET", f"{path}/disassociate_all"), "qos", "disassociate_all_qos")
    check(admin(world, "DELETE", path), "qos", "delete_qos")


def group(world: World, kind: str) -> str:
    types = {"group_type": {"name": uuid.uuid4().hex}}
    made = admin(world, "POST", "/group_types", types, headers=at("3.11"))
    group_type = check(made, "group_types", "create_group_type")["group_type"]["id"]
    body = {"group": {"group_type": group_type, "volume_types": [kind], "name": "g"}}
    answer = world.call("POST", "/groups", body, headers=at("3.13"))
    return str(check(answer, "groups", "create_group")["group"]["id"])


def test_groups_are_snapshotted_and_copied(world: World) -> None:
    kind = a_type(world)["id"]
    first = group(world, kind)
    body = {"volume": {"size": 1, "volume_type": kind, "group_id": first}}
    volume = world.call("POST", "/volumes", body, headers=at("3.13")).json["volume"]["id"]
    world.settle()
    new = at("3.14")
    check(world.call("GET", f"/groups/{first}", headers=new), "groups", "show_group")
    snapshot = {"group_snapshot": {"group_id": first, "name": "s"}}
    made = world.call("POST", "/group_snapshots", snapshot, headers=new)
    taken = check(made, "group_snapshots", "create_group_snapshot")["group_snapshot"]["id"]
    world.settle()
    shown = world.call("GET", f"/group_snapshots/{taken}", headers=new)
    assert (
        check(shown, "group_snapshots", "show_group_snapshot")["group_snapshot"]["status"]
        == "available"
    )
    copy = {"create-from-src": {"group_snapshot_id": taken, "name": "c"}}
    copied = world.call("POST", "/groups/action", copy, headers=new).json["group"]["id"]
    world.settle()
    found = world.call("GET", f"/volumes/detail?group_id={copied}", headers=new).json["volumes"]
    assert [one["status"] for one in found] == ["available"]
    assert world.call("DELETE", f"/volumes/{volume}").status == 400  # it is in a group
    gone = {"delete": {"delete-volumes": True}}
    assert world.call("POST", f"/groups/{first}/action", gone, headers=new).status == 400
    assert world.call("DELETE", f"/group_snapshots/{taken}", headers=new).status == 202
    world.settle()
    for one in (first, copied):
        assert world.call("POST", f"/groups/{one}/action", gone, headers=new).status == 202
    world.settle()
    assert world.call("GET", "/volumes").json["volumes"] == []


def test_quotas_bound_and_are_shown(world: World) -> None:
    project = uuid.uuid4().hex
    check(admin(world, "GET", f"/os-quota-sets/{project}"), "quotas", "show_quota_set")
    usage = admin(world, "GET", f"/os-quota-sets/{project}?usage=true")
    check(usage, "quotas", "show_quota_set_usage")
    body = {"quota_set": {"volumes": 1}}
    assert world.call("PUT", "/os-quota-sets/project-1", body).status == 403
    changed = admin(world, "PUT", "/os-quota-sets/project-1", body)
    assert check(changed, "quotas", "update_quota_set")["quota_set"]["volumes"] == 1
    for bad in ({"volumes": "x"}, {"nonsense": 1}, {"volumes": -2}):
        assert admin(world, "PUT", "/os-quota-sets/project-1", {"quota_set": bad}).status == 400
    world.made()
    answer = world.call("POST", "/volumes", {"volume": {"size": 1}})
    assert answer.status == 413
    assert answer.json["overLimit"]["message"].startswith("VolumeLimitExceeded")
    limits = check(world.call("GET", "/limits"), "limits", "show_limits")["limits"]["absolute"]
    assert (limits["maxTotalVolumes"], limits["totalVolumesUsed"]) == (1, 1)
    assert admin(world, "DELETE", "/os-quota-sets/project-1").status == 200
    shown = admin(world, "GET", "/os-quota-class-sets/default")
    shown.json["quota_class_set"].pop("id")
    klass = {"quota_class_set": {"volumes": 3}}
    changed = admin(world, "PUT", "/os-quota-class-sets/default", klass)
    check(changed, "quota_classes", "update_quota_classes")
    defaults = admin(world, "GET", f"/os-quota-sets/{project}/defaults").json["quota_set"]
    assert defaults["volumes"] == 3


def test_services_pools_and_the_rest(world: World) -> None:
    world.settle()
    found = check(admin(world, "GET", "/os-services"), "services", "list_services")["services"]
    hosts = {one["binary"]: one["host"] for one in found}
    assert hosts["cinder-volume"] == "vm@memory"
    off = {"host": hosts["cinder-volume"], "binary": "cinder-volume", "disabled_reason": "why"}
    check(
        admin(world, "PUT", "/os-services/disable-log-reason", off),
        "services",
        "disable_log_reason",
    )
    answer = world.call("POST", "/volumes", {"volume": {"size": 1}})
    assert world.shown(answer.json["volume"]["id"])["status"] == "error"
    check(admin(world, "PUT", "/os-services/enable", off), "services", "enable_service")
    assert world.made()["status"] == "available"
    check(admin(world, "GET", "/os-hosts"), "hosts", "list_hosts")
    check(admin(world, "GET", "/os-hosts/vm@memory"), "hosts", "show_host")
    check(
        admin(world, "GET", "/scheduler-stats/get_pools?detail=false"),
        "scheduler_stats",
        "get_pools_no_detail",
    )
    pools = admin(world, "GET", "/scheduler-stats/get_pools?detail=true").json["pools"]
    assert pools[0]["name"] == "vm@memory#memory"
    assert pools[0]["capabilities"]["total_capacity_gb"] == 1000
    check(
        admin(world, "GET", "/capabilities/vm@memory"), "capabilities", "show_backend_capabilities"
    )
    check(world.call("GET", "/extensions"), "extensions", "list_extensions")
    assert world.call("GET", "/os-availability-zone").json["availabilityZoneInfo"]
    assert world.cloud.get("/volume/").status == 300
    found = world.call("GET", "/resource_filters?resource=backup", headers=at("3.33")).json
    assert [one["resource"] for one in found["resource_filters"]] == ["backup"]
