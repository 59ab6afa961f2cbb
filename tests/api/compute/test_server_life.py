"""A server from create to delete, as clients see it; answers are held against Tempest's schemas."""

from typing import Any

import pytest

from node.plugins.compute.names import console_log_path
from node.plugins.compute.server_ops import job_done_ops, node_counter, quota_counter, release_ops
from node.plugins.compute.tables import Server
from node.sdk import insert
from node.testing import Cloud
from tests.api.compute.conftest import IMAGE, NETWORK, image, node_row
from tests.api.compute.schemas import check

CHANGES = (1, 3, 9, 16, 19, 26, 36, 47, 54, 57, 63, 71, 73, 75, 90, 96)
VERSIONS = [(2, minor) for minor in CHANGES]
"""Where the form of a server changes."""


def headers(version: tuple[int, int]) -> dict[str, str]:
    return {"OpenStack-API-Version": f"compute {version[0]}.{version[1]}"}


def create(cloud: Cloud, token: str, **fields: Any) -> str:
    body = {"server": {"name": "vm", "imageRef": IMAGE, "flavorRef": "1", **fields}}
    answer = cloud.post("/compute/v2.1/servers", json=body, token=token)
    return str(check(answer, "servers", "create_server_with_admin_pass")["server"]["id"])


def finish(cloud: Cloud, server_id: str, have: str = "active", power: int = 1, **more: Any) -> None:
    """Do what the node does at the end of a job."""
    server = cloud.db.must(Server, server_id)
    cloud.commit(
        *job_done_ops(cloud.db, server, cloud.clock.now_us(), have=have, power=power, **more)
    )


def act(cloud: Cloud, token: str, server_id: str, **action: Any) -> Any:
    return cloud.post(f"/compute/v2.1/servers/{server_id}/action", json=action, token=token)


def shown(cloud: Cloud, token: str, server_id: str) -> Any:
    answer = cloud.get(f"/compute/v2.1/servers/{server_id}", token=token)
    return check(answer, "servers", "get_server")["server"]


def test_life(cloud: Cloud) -> None:
    token = cloud.token()
    server_id = create(cloud, token, metadata={"a": "b"}, networks=[{"uuid": NETWORK}])
    server = shown(cloud, token, server_id)
    assert (server["status"], server["OS-EXT-STS:task_state"]) == ("BUILD", "spawning")
    assert server["addresses"]["private"][0]["addr"] == "10.0.0.2"
    assert cloud.db.counter(node_counter("node-1", "memory_mib")) == 64
    assert cloud.db.counter(quota_counter("project-1", "cores")) == 1
    assert act(cloud, token, server_id, **{"os-stop": None}).status == 409
    finish(cloud, server_id)
    server = shown(cloud, token, server_id)
    assert (server["status"], server["OS-EXT-STS:power_state"]) == ("ACTIVE", 1)
    assert server["OS-SRV-USG:launched_at"]

    assert act(cloud, token, server_id, reboot={"type": "HARD"}).status == 202
    assert shown(cloud, token, server_id)["status"] == "HARD_REBOOT"
    finish(cloud, server_id)
    assert act(cloud, token, server_id, **{"os-stop": None}).status == 202
    assert shown(cloud, token, server_id)["OS-EXT-STS:task_state"] == "powering-off"
    finish(cloud, server_id, "stopped", 4)
    assert shown(cloud, token, server_id)["status"] == "SHUTOFF"
    assert act(cloud, token, server_id, **{"os-stop": None}).status == 409
    assert act(cloud, token, server_id, **{"os-start": None}).status == 202
    finish(cloud, server_id)

    path = f"/compute/v2.1/servers/{server_id}"
    actions = check(
        cloud.get(f"{path}/os-instance-actions", token=token), "servers", "list_instance_actions"
    )
    assert [a["action"] for a in actions["instanceActions"]] == [
        "start",
        "stop",
        "reboot",
        "create",
    ]
    check(cloud.delete(path, token=token), "servers", "delete_server")
    assert shown(cloud, token, server_id)["OS-EXT-STS:task_state"] == "deleting"
    row = cloud.db.must(Server, server_id)
    cloud.commit(*release_ops(cloud.db, cloud.host.hook, row, cloud.clock.now_us()), frees=True)
    assert cloud.get(path, token=token).status == 404
    for counter in (node_counter("node-1", "memory_mib"), quota_counter("project-1", "instances")):
        assert cloud.db.counter(counter) == 0
    gone = cloud.get("/compute/v2.1/servers/detail?changes-since=2000-01-01T00:00:00Z", token=token)
    assert [s["status"] for s in check(gone, "servers", "list_servers_detail")["servers"]] == [
        "DELETED"
    ]
    assert cloud.get("/compute/v2.1/servers", token=token).json == {"servers": []}


@pytest.mark.parametrize("roles", [("member",), ("admin",)])
def test_views_at_each_microversion(cloud: Cloud, roles: tuple[str, ...]) -> None:
    token = cloud.token(roles=roles)
    server_id = create(cloud, token)
    finish(cloud, server_id)
    path = f"/compute/v2.1/servers/{server_id}"
    for version in VERSIONS:
        more = {"token": token, "headers": headers(version)}
        check(cloud.get(path, **more), "servers", "get_server", version)
        check(
            cloud.get("/compute/v2.1/servers/detail", **more),
            "servers",
            "list_servers_detail",
            version,
        )
        changed = cloud.put(path, json={"server": {"name": "vm2"}}, **more)
        check(changed, "servers", "update_server", version)
        body = {"rebuild": {"imageRef": IMAGE, "name": "vm3"}}
        rebuilt = cloud.post(f"{path}/action", json=body, **more)
        check(rebuilt, "servers", "rebuild_server_with_admin_pass", version)
        assert shown(cloud, token, server_id)["status"] == "REBUILD"
        finish(cloud, server_id)


def test_no_valid_host(cloud: Cloud) -> None:
    token = cloud.token()
    cloud.commit(insert(node_row("node-0", state="down")))
    for _ in range(2):
        answer = cloud.post(
            "/compute/v2.1/servers",
            json={"server": {"name": "big", "imageRef": IMAGE, "flavorRef": "big"}},
            token=token,
        )
        assert answer.status == 400
    cloud.post(
        "/compute/v2.1/flavors",
        json={"flavor": {"id": "big", "name": "big", "ram": 8192, "vcpus": 1, "disk": 1}},
        token=cloud.token(roles=("admin",)),
    )
    server_id = create(cloud, token, flavorRef="big")
    server = shown(cloud, token, server_id)
    assert server["status"] == "ERROR"
    assert server["fault"]["message"].startswith("No valid host was found.")
    assert cloud.delete(f"/compute/v2.1/servers/{server_id}", token=token).status == 204
    assert cloud.get(f"/compute/v2.1/servers/{server_id}", token=token).status == 404
    assert cloud.db.counter(quota_counter("project-1", "ram")) == 0


def refused(cloud: Cloud, token: str, status: int, **fields: Any) -> str:
    body = {"server": {"name": "vm", "imageRef": IMAGE, "flavorRef": "1", **fields}}
    more = fields.pop("headers", {})
    body["server"].pop("headers", None)
    answer = cloud.post("/compute/v2.1/servers", json=body, token=token, headers=more)
    assert answer.status == status, answer.body
    (fault,) = answer.json.values()
    assert fault["code"] == status
    assert cloud.get("/compute/v2.1/servers", token=token).json["servers"] == []
    assert cloud.db.counter(quota_counter("project-1", "instances")) == 0
    return str(fault["message"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "Invalid input for field/attribute name."),
        ({"name": "x" * 256}, "Invalid input for field/attribute name."),
        ({"name": " x"}, "Invalid input for field/attribute name."),
        ({"flavorRef": "nope"}, "Flavor nope could not be found."),
        ({"imageRef": "nope"}, "Invalid input for field/attribute imageRef."),
        ({"imageRef": "70a599e0-0000-49b7-b260-868f441e862b"}, "Can not find requested image"),
        ({"imageRef": ""}, "You must specify an image"),
        ({"key_name": "nope"}, "Invalid key_name provided."),
        ({"networks": [{"uuid": "70a599e0-0000-49b7-b260-868f441e862b"}]}, "could not be found"),
        ({"networks": [{"uuid": "1-2-3"}]}, "network uuid is not in proper format"),
        ({"networks": [{"uuid": NETWORK, "fixed_ip": "10.0.0.999"}]}, "Invalid fixed IP address"),
        ({"networks": "auto"}, "is not of type 'array'"),
        ({"availability_zone": "nowhere"}, "The requested availability zone is not available"),
        ({"metadata": {"a" * 256: "b"}}, "Invalid input for field/attribute metadata"),
        ({"metadata": {"a": 5}}, "Invalid input for field/attribute"),
        ({"min_count": 0}, "less than the minimum of 1"),
        ({"min_count": 3, "max_count": 2}, "min_count must be <= max_count"),
        ({"user_data": "%%%"}, "Invalid input for field/attribute user_data"),
        ({"accessIPv4": "1.2"}, "is not an 'ipv4'"),
        ({"description": "early"}, "('description' was unexpected)"),
        ({"tags": ["early"]}, "('tags' was unexpected)"),
        ({"apples": 1}, "('apples' was unexpected)"),
        ({"block_device_mapping": [{"volume_id": "x"}]}, "must be named by its id"),
        (
            {
                "block_device_mapping_v2": [
                    {"source_type": "volume", "destination_type": "volume", "uuid": "x"}
                ]
            },
            "uuid for volume",
        ),
    ],
)
def test_bad_requests(cloud: Cloud, fields: dict[str, Any], message: str) -> None:
    found = refused(cloud, cloud.token(), 400, **fields)
    assert message in found


def test_image_rules(cloud: Cloud, images: Any) -> None:
    token = cloud.token()
    for change, message in (
        ({"status": "queued"}, f"Image {IMAGE} is not active."),
        ({"status": "deactivated"}, f"Image {IMAGE} is not active."),
        ({"min_ram_mib": 65}, "Flavor's memory is too small for requested image."),
        ({"min_disk_gib": 2}, "Flavor's disk is smaller than the minimum size"),
        ({"virtual_size_bytes": 2 << 30}, "Flavor's disk is too small for requested image."),
        ({"visibility": "private"}, "Can not find requested image"),
    ):
        images.by_id[IMAGE] = image(**change)
        assert message in refused(cloud, token, 400)
    images.by_id[IMAGE] = image(visibility="private", project_id="project-1")
    create(cloud, token)


def test_image_on_a_local_disk_may_be_given_as_mapping(cloud: Cloud) -> None:
    mapping = {
        "uuid": IMAGE,
        "boot_index": 0,
        "source_type": "image",
        "destination_type": "local",
        "delete_on_termination": True,
    }
    create(cloud, cloud.token(), block_device_mapping_v2=[mapping])


def test_several_servers(cloud: Cloud) -> None:
    token = cloud.token()
    body = {
        "name": "vm",
        "imageRef": IMAGE,
        "flavorRef": "1",
        "min_count": 2,
        "return_reservation_id": True,
    }
    answer = cloud.post("/compute/v2.1/servers", json={"server": body}, token=token)
    assert answer.json["reservation_id"].startswith("r-")
    found = cloud.get("/compute/v2.1/servers?sort_key=display_name&sort_dir=asc", token=token).json[
        "servers"
    ]
    assert [server["name"] for server in found] == ["vm-1", "vm-2"]


def test_projects_do_not_see_each_other(cloud: Cloud) -> None:
    server_id = create(cloud, cloud.token())
    other = cloud.token(project_id="other")
    path = f"/compute/v2.1/servers/{server_id}"
    for method, where, body in (
        ("GET", path, None),
        ("DELETE", path, None),
        ("PUT", path, {"server": {"name": "x"}}),
        ("POST", f"{path}/action", {"os-stop": None}),
        ("GET", f"{path}/metadata", None),
        ("GET", f"{path}/ips", None),
        ("GET", f"{path}/os-instance-actions", None),
    ):
        assert cloud.request(method, where, json=body, token=other).status == 404
    reader = cloud.token(roles=("reader",))
    assert cloud.get(path, token=reader).status == 200
    assert cloud.delete(path, token=reader).status == 403
    assert cloud.get("/compute/v2.1/servers?all_tenants=1", token=other).status == 403
    admin = cloud.token(roles=("admin",), project_id="other")
    assert len(cloud.get("/compute/v2.1/servers?all_tenants=1", token=admin).json["servers"]) == 1
    assert cloud.get("/compute/v2.1/servers", token=admin).json["servers"] == []


def test_filters(cloud: Cloud) -> None:
    token, admin = cloud.token(), cloud.token(roles=("admin",))
    first = create(cloud, token, name="web-1")
    cloud.clock.advance(10)
    second = create(cloud, token, name="db-1", flavorRef="2")
    finish(cloud, first)

    def names(query: str, who: str = token, version: tuple[int, int] = (2, 1)) -> list[str]:
        answer = cloud.get(f"/compute/v2.1/servers?{query}", token=who, headers=headers(version))
        return [
            server["name"]
            for server in check(answer, "servers", "list_servers", version)["servers"]
        ]

    assert names("") == ["db-1", "web-1"]
    assert names("name=web") == names("name=^w") == ["web-1"]
    assert names("status=active") == names("status=ACTIVE") == ["web-1"]
    assert names("status=nonsense") == []
    assert names("flavor=2") == ["db-1"]
    assert names(f"image={IMAGE}") == ["db-1", "web-1"]
    assert names("image=70a599e0-0000-49b7-b260-868f441e862b") == []
    assert names("ip=10.0.0.2$") == ["web-1"]
    assert names("limit=1") == ["db-1"]
    assert names(f"limit=1&marker={second}") == ["web-1"]
    assert names("host=elsewhere") == ["db-1", "web-1"]  # not for members: ignored, as Nova does
    assert names("host=elsewhere", admin) == []
    assert names("host=node-1", admin) == ["db-1", "web-1"]
    assert names("changes-since=2000-01-01T00:00:00Z") == ["db-1", "web-1"]
    assert names("changes-since=2100-01-01T00:00:00Z") == []
    assert names("apples=1") == ["db-1", "web-1"]
    for query in (
        "limit=-1",
        "limit=x",
        "marker=nope",
        "name=(",
        "changes-since=soon",
        "sort_dir=up",
    ):
        assert cloud.get(f"/compute/v2.1/servers?{query}", token=token).status == 400, query
    assert cloud.get("/compute/v2.1/servers?status=DELETED", token=token).status == 403
    late = cloud.get("/compute/v2.1/servers?status=x", token=token, headers=headers((2, 38)))
    assert late.status == 400
    page = cloud.get("/compute/v2.1/servers/detail?limit=1", token=token).json
    following = page["servers_links"][0]["href"].removeprefix("https://cloud.test")
    assert [s["name"] for s in cloud.get(following, token=token).json["servers"]] == ["web-1"]


def test_lock(cloud: Cloud) -> None:
    token, admin = cloud.token(), cloud.token(roles=("admin",))
    server_id = create(cloud, token)
    finish(cloud, server_id)
    assert act(cloud, token, server_id, lock=None).status == 202
    assert act(cloud, token, server_id, **{"os-stop": None}).status == 409
    assert cloud.delete(f"/compute/v2.1/servers/{server_id}", token=token).status == 409
    assert act(cloud, token, server_id, unlock=None).status == 202
    assert act(cloud, admin, server_id, lock=None).status == 202
    assert act(cloud, token, server_id, unlock=None).status == 403
    assert act(cloud, admin, server_id, **{"os-stop": None}).status == 202


def test_actions_that_do_not_exist(cloud: Cloud) -> None:
    token = cloud.token()
    server_id = create(cloud, token)
    for body in (
        {"explode": None},
        {},
        [],
        {"lock": None, "unlock": None},
        {"reboot": {"type": "X"}},
    ):
        answer = cloud.post(f"/compute/v2.1/servers/{server_id}/action", json=body, token=token)
        assert answer.status == 400, body
    assert act(cloud, token, server_id, **{"os-resetState": {"state": "error"}}).status == 403
    admin = cloud.token(roles=("admin",))
    assert act(cloud, admin, server_id, **{"os-resetState": {"state": "error"}}).status == 202
    assert shown(cloud, token, server_id)["status"] == "ERROR"


def test_console_output(cloud: Cloud) -> None:
    token = cloud.token()
    server_id = create(cloud, token)
    log = console_log_path(cloud.directory, server_id)
    log.parent.mkdir(parents=True)
    log.write_bytes(b"one\ntwo\n\xffthree\n")

    def output(**length: Any) -> str:
        answer = act(cloud, token, server_id, **{"os-getConsoleOutput": length})
        return str(check(answer, "servers", "get_console_output")["output"])

    assert output() == output(length=-1) == "one\ntwo\n\ufffdthree\n"
    assert output(length="2") == "two\n\ufffdthree\n"
    assert output(length=0) == ""
    assert act(cloud, token, server_id, **{"os-getConsoleOutput": {"length": "x"}}).status == 400


def test_metadata_and_tags(cloud: Cloud) -> None:
    token = cloud.token()
    server_id = create(cloud, token, metadata={"a": "1"})
    path = f"/compute/v2.1/servers/{server_id}"
    assert (
        cloud.put(f"{path}/metadata", json={"metadata": {}}, token=token).status == 409
    )  # still building
    finish(cloud, server_id)
    merged = cloud.post(f"{path}/metadata", json={"metadata": {"b": "2"}}, token=token)
    assert check(merged, "servers", "update_server_metadata")["metadata"] == {"a": "1", "b": "2"}
    item = cloud.put(f"{path}/metadata/a", json={"meta": {"a": "3"}}, token=token)
    check(item, "servers", "set_show_server_metadata_item")
    assert cloud.put(f"{path}/metadata/a", json={"meta": {"b": "3"}}, token=token).status == 400
    assert cloud.get(f"{path}/metadata/nope", token=token).status == 404
    check(cloud.delete(f"{path}/metadata/b", token=token), "servers", "delete_server_metadata_item")
    assert cloud.get(f"{path}/metadata", token=token).json == {"metadata": {"a": "3"}}
    many = {f"k{n}": "v" for n in range(129)}
    assert cloud.put(f"{path}/metadata", json={"metadata": many}, token=token).status == 403

    more: dict[str, Any] = {"token": token, "headers": headers((2, 26))}
    assert cloud.get(f"{path}/tags", token=token).status == 404
    assert cloud.put(f"{path}/tags/x", **more).status == 201
    assert cloud.put(f"{path}/tags/x", **more).status == 204
    replaced = cloud.put(f"{path}/tags", json={"tags": ["y", "z"]}, **more)
    assert check(replaced, "servers", "update_all_tags", (2, 26)) == {"tags": ["y", "z"]}
    listed = cloud.get("/compute/v2.1/servers?tags=y,z&not-tags=x", **more)
    assert len(listed.json["servers"]) == 1
    assert cloud.get("/compute/v2.1/servers?tags=y,q", **more).json["servers"] == []
    assert cloud.get(f"{path}/tags/y", **more).status == 204
    assert cloud.delete(f"{path}/tags/q", **more).status == 404
    assert cloud.delete(f"{path}/tags", **more).status == 204


def test_addresses_and_interfaces(cloud: Cloud) -> None:
    token = cloud.token()
    path = f"/compute/v2.1/servers/{create(cloud, token)}"
    check(cloud.get(f"{path}/ips", token=token), "servers", "list_addresses")
    check(cloud.get(f"{path}/ips/private", token=token), "servers", "list_addresses_by_network")
    assert cloud.get(f"{path}/ips/public", token=token).status == 404
    ports = check(cloud.get(f"{path}/os-interface", token=token), "interfaces", "list_interfaces")
    port_id = ports["interfaceAttachments"][0]["port_id"]
    check(
        cloud.get(f"{path}/os-interface/{port_id}", token=token),
        "interfaces",
        "get_create_interfaces",
    )
    assert cloud.get(f"{path}/os-interface/nope", token=token).status == 404
