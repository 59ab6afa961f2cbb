"""What administrators and clients ask besides servers, held against Tempest's schemas at many microversions."""

from typing import Any

import pytest

from node.plugins.compute.server_ops import quota_counter
from node.testing import Cloud
from tests.api.compute.schemas import check
from tests.api.compute.test_server_life import create, finish, headers

SOME = [(2, minor) for minor in (1, 2, 11, 28, 33, 36, 39, 42, 50, 52, 53, 57, 64, 70, 87, 88, 96)]


@pytest.fixture
def admin(cloud: Cloud) -> str:
    return cloud.token(roles=("admin",))


@pytest.mark.parametrize("version", SOME)
def test_hosts(cloud: Cloud, admin: str, version: tuple[int, int]) -> None:
    more: dict[str, Any] = {"token": admin, "headers": headers(version)}
    finish(cloud, create(cloud, admin))

    def get(path: str, module: str, name: str) -> Any:
        return check(cloud.get(f"/compute/v2.1/{path}", **more), module, name, version)

    get("os-hypervisors", "hypervisors", "list_search_hypervisors")
    if version < (2, 88):  # Tempest has no schema of the later form
        listed = get("os-hypervisors/detail", "hypervisors", "list_hypervisors_detail")[
            "hypervisors"
        ]
        get(f"os-hypervisors/{listed[0]['id']}", "hypervisors", "get_hypervisor")
        totals = get("os-hypervisors/statistics", "hypervisors", "get_hypervisor_statistics")
        assert totals["hypervisor_statistics"]["memory_mb_used"] == 64
    else:
        assert cloud.get("/compute/v2.1/os-hypervisors/statistics", **more).status in {400, 404}
    if version < (2, 53):
        get("os-hypervisors/node/servers", "hypervisors", "get_hypervisors_servers")
        get("os-hypervisors/node/search", "hypervisors", "list_search_hypervisors")
    services = get("os-services", "services", "list_services")["services"]
    assert services[0]["binary"] == "nova-compute"
    if version >= (2, 53):
        path = f"/compute/v2.1/os-services/{services[0]['id']}"
        answer = cloud.put(path, json={"status": "disabled", "disabled_reason": "test"}, **more)
        assert (
            check(answer, "services", "update_service", version)["service"]["status"] == "disabled"
        )
    else:
        body = {"host": "node-1", "binary": "nova-compute"}
        answer = cloud.put("/compute/v2.1/os-services/disable", json=body, **more)
        check(answer, "services", "enable_disable_service", version)
    assert (
        cloud.get(f"/compute/v2.1/servers/{create(cloud, admin)}", token=admin).json["server"][
            "status"
        ]
        == "ERROR"
    )
    hosts = cloud.get("/compute/v2.1/os-hosts", **more)
    if version >= (2, 43):
        assert hosts.status == 404
    else:
        check(hosts, "hosts", "list_hosts", version)
        get("os-hosts/node-1", "hosts", "get_host_detail")
    get("os-availability-zone", "availability_zone", "list_availability_zone_list")
    get("os-availability-zone/detail", "availability_zone", "list_availability_zone_list_detail")


@pytest.mark.parametrize("version", SOME)
def test_quotas(cloud: Cloud, admin: str, version: tuple[int, int]) -> None:
    more: dict[str, Any] = {"token": admin, "headers": headers(version)}
    path = "/compute/v2.1/os-quota-sets/project-2"
    check(cloud.get(path, **more), "quotas", "get_quota_set", version)
    check(cloud.get(f"{path}/defaults", **more), "quotas", "get_quota_set", version)
    check(cloud.get(f"{path}/detail", **more), "quotas", "get_quota_set_details", version)
    changed = cloud.put(path, json={"quota_set": {"cores": "1", "force": True}}, **more)
    assert check(changed, "quotas", "update_quota_set", version)["quota_set"]["cores"] == 1
    limits = check(cloud.get("/compute/v2.1/limits", **more), "limits", "get_limit", version)
    assert limits["limits"]["absolute"]["maxTotalCores"] == 20
    class_path = "/compute/v2.1/os-quota-class-sets/default"
    if version >= (2, 50):
        check(cloud.get(class_path, **more), "quota_classes", "get_quota_class_set", version)
    assert cloud.put(path, json={"quota_set": {"cores": -2}}, **more).status == 400
    assert cloud.put(path, json={"quota_set": {"apples": 1}}, **more).status == 400
    check(cloud.delete(path, **more), "quotas", "delete_quota")
    assert cloud.get(path, **more).json["quota_set"]["cores"] == 20
    assert cloud.put(path, json={"quota_set": {}}, token=cloud.token()).status == 403


def test_quota_is_enforced(cloud: Cloud, admin: str) -> None:
    cloud.put(
        "/compute/v2.1/os-quota-sets/project-1", json={"quota_set": {"cores": 2}}, token=admin
    )
    token = cloud.token()
    create(cloud, token)
    body = {
        "server": {"name": "vm", "imageRef": "x", "flavorRef": "1", "min_count": 1, "max_count": 5}
    }
    body["server"]["imageRef"] = "70a599e0-31e7-49b7-b260-868f441e862b"
    assert cloud.post("/compute/v2.1/servers", json=body, token=token).status == 202
    assert len(cloud.get("/compute/v2.1/servers", token=token).json["servers"]) == 2
    refused = cloud.post("/compute/v2.1/servers", json=body, token=token)
    assert refused.status == 403
    assert refused.json["forbidden"]["message"] == (
        "Quota exceeded for cores: Requested 1, but already used 2 of 2 cores"
    )
    assert cloud.db.counter(quota_counter("project-1", "cores")) == 2


@pytest.mark.parametrize("version", [(2, 1), (2, 13), (2, 15), (2, 64), (2, 96)])
def test_server_groups(cloud: Cloud, version: tuple[int, int]) -> None:
    token = cloud.token()
    more: dict[str, Any] = {"token": token, "headers": headers(version)}
    kind = {"policy": "anti-affinity"} if version >= (2, 64) else {"policies": ["anti-affinity"]}
    answer = cloud.post(
        "/compute/v2.1/os-server-groups", json={"server_group": {"name": "g", **kind}}, **more
    )
    group = check(answer, "server_groups", "create_show_server_group", version)["server_group"]
    body = {
        "server": {
            "name": "vm",
            "imageRef": "70a599e0-31e7-49b7-b260-868f441e862b",
            "flavorRef": "1",
        },
        "os:scheduler_hints": {"group": group["id"]},
    }
    states = []
    for _ in range(2):  # one node only: the second server of the group fits nowhere
        made = cloud.post("/compute/v2.1/servers", json=body, token=token).json["server"]["id"]
        states.append(
            cloud.get(f"/compute/v2.1/servers/{made}", token=token).json["server"]["status"]
        )
    assert states == ["BUILD", "ERROR"]
    listed = cloud.get("/compute/v2.1/os-server-groups", **more)
    members = check(listed, "server_groups", "list_server_groups", version)["server_groups"][0][
        "members"
    ]
    assert len(members) == 2
    path = f"/compute/v2.1/os-server-groups/{group['id']}"
    assert cloud.get(path, token=cloud.token(project_id="other")).status == 404
    check(cloud.delete(path, **more), "server_groups", "delete_server_group")
    assert cloud.get(path, **more).status == 404


def test_usage(cloud: Cloud, admin: str) -> None:
    finish(cloud, create(cloud, admin))
    cloud.clock.advance(7200)
    one = check(
        cloud.get("/compute/v2.1/os-simple-tenant-usage/project-1", token=admin),
        "tenant_usages",
        "get_tenant_usage",
    )["tenant_usage"]
    assert one["total_hours"] == pytest.approx(2, abs=0.1)
    assert one["total_memory_mb_usage"] == pytest.approx(128, abs=4)
    every = cloud.get("/compute/v2.1/os-simple-tenant-usage?detailed=1", token=admin)
    check(every, "tenant_usages", "list_tenant_usage")


def test_versions(cloud: Cloud) -> None:
    listed = check(cloud.get("/compute/"), "versions", "list_versions")["versions"]
    assert listed[0]["id"] == "v2.0"
    for version in listed:
        path = version["links"][0]["href"].removeprefix("https://cloud.test")
        check(cloud.get(path), "versions", "get_one_version")
    too_new = cloud.get("/compute/v2.1/flavors", token=cloud.token(), headers=headers((2, 999)))
    assert too_new.status == 406
    assert cloud.get("/compute/v2/flavors", token=cloud.token()).status == 200


def test_extensions(cloud: Cloud) -> None:
    check(
        cloud.get("/compute/v2.1/extensions", token=cloud.token()), "extensions", "list_extensions"
    )
    assert cloud.get("/compute/v2.1/extensions/os-keypairs", token=cloud.token()).status == 200
    assert cloud.get("/compute/v2.1/extensions/os-nothing", token=cloud.token()).status == 404
