"""Flavors and key pairs, held against Tempest's schemas."""

from typing import Any

import pytest

from node.testing import Cloud
from tests.api.compute.schemas import check
from tests.api.compute.test_server_life import headers

FLAVORS, KEYS = "/compute/v2.1/flavors", "/compute/v2.1/os-keypairs"
PUBLIC_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA/GD4SBYeRZ8DdGlSmkH4wbGVSp9uEKF53ZyChdgZa9 me@here"
)


@pytest.fixture
def admin(cloud: Cloud) -> str:
    return cloud.token(roles=("admin",))


@pytest.mark.parametrize("version", [(2, 1), (2, 55), (2, 61), (2, 75), (2, 96)])
def test_flavor_life(cloud: Cloud, admin: str, version: tuple[int, int]) -> None:
    more: dict[str, Any] = {"token": admin, "headers": headers(version)}
    new = {
        "name": "big",
        "ram": "512",
        "vcpus": 2,
        "disk": 5,
        "swap": 128,
        "OS-FLV-EXT-DATA:ephemeral": 1,
    }
    made = cloud.post(FLAVORS, json={"flavor": new}, **more)
    flavor = check(made, "flavors", "create_update_get_flavor_details", version)["flavor"]
    assert (flavor["ram"], flavor["swap"], flavor["OS-FLV-EXT-DATA:ephemeral"]) == (512, 128, 1)
    path = f"{FLAVORS}/{flavor['id']}"
    assert cloud.post(FLAVORS, json={"flavor": new}, **more).status == 409
    check(cloud.get(FLAVORS, **more), "flavors", "list_flavors", version)
    listed = check(
        cloud.get(f"{FLAVORS}/detail", **more), "flavors", "list_flavors_details", version
    )
    assert {f["name"]: f["swap"] for f in listed["flavors"]}["m1.tiny"] == (
        0 if version >= (2, 75) else ""
    )
    if version >= (2, 55):
        changed = cloud.put(path, json={"flavor": {"description": "large"}}, **more)
        body = check(changed, "flavors", "create_update_get_flavor_details", version)
        assert body["flavor"]["description"] == "large"
    else:
        assert cloud.put(path, json={"flavor": {"description": "x"}}, **more).status in {404, 405}
    check(cloud.delete(path, **more), "flavors", "delete_flavor", version)
    assert cloud.get(path, **more).status == 404


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"ram": 0},
        {"ram": "x"},
        {"vcpus": 0},
        {"disk": -1},
        {"id": " x"},
        {"rxtx_factor": 0},
        {"rxtx_factor": "nan"},
        {"swap": 2**31},
        {"apples": 1},
        {"os-flavor-access:is_public": "maybe"},
    ],
)
def test_bad_flavors(cloud: Cloud, admin: str, change: dict[str, Any]) -> None:
    new = {"name": "f", "ram": 1, "vcpus": 1, "disk": 1, **change}
    assert cloud.post(FLAVORS, json={"flavor": new}, token=admin).status == 400
    assert cloud.post(FLAVORS, json={"flavor": new}, token=cloud.token()).status == 403


def test_flavor_lists(cloud: Cloud, admin: str) -> None:
    def names(query: str, token: str = admin) -> list[str]:
        return [f["name"] for f in cloud.get(f"{FLAVORS}?{query}", token=token).json["flavors"]]

    assert names("") == ["m1.tiny", "m1.small"]
    assert names("minRam=100") == ["m1.small"]
    assert names("sort_key=memory_mb&sort_dir=desc") == ["m1.small", "m1.tiny"]
    assert names("limit=1&marker=1") == ["m1.small"]
    for query in ("minRam=x", "limit=-1", "marker=nope", "sort_key=apples", "is_public=maybe"):
        assert cloud.get(f"{FLAVORS}?{query}", token=admin).status == 400, query
    late = cloud.get(f"{FLAVORS}?apples=1", token=admin, headers=headers((2, 75)))
    assert late.status == 400
    assert names("apples=1") == ["m1.tiny", "m1.small"]


def test_flavor_access(cloud: Cloud, admin: str) -> None:
    new = {
        "name": "f",
        "ram": 1,
        "vcpus": 1,
        "disk": 1,
        "id": "p",
        "os-flavor-access:is_public": False,
    }
    cloud.post(FLAVORS, json={"flavor": new}, token=admin)
    member = cloud.token(project_id="guest")
    assert cloud.get(f"{FLAVORS}/p", token=member).status == 404
    added = cloud.post(
        f"{FLAVORS}/p/action", json={"addTenantAccess": {"tenant": "guest"}}, token=admin
    )
    check(added, "flavors_access", "add_remove_list_flavor_access")
    assert cloud.get(f"{FLAVORS}/p", token=member).status == 200
    listed = cloud.get(f"{FLAVORS}/p/os-flavor-access", token=admin)
    assert check(listed, "flavors_access", "add_remove_list_flavor_access")["flavor_access"] == [
        {"flavor_id": "p", "tenant_id": "guest"}
    ]
    again = cloud.post(
        f"{FLAVORS}/p/action", json={"addTenantAccess": {"tenant": "guest"}}, token=admin
    )
    assert again.status == 409
    body = {"removeTenantAccess": {"tenant": "guest"}}
    assert cloud.post(f"{FLAVORS}/p/action", json=body, token=admin).json == {"flavor_access": []}
    assert cloud.post(f"{FLAVORS}/p/action", json=body, token=admin).status == 404
    assert cloud.get(f"{FLAVORS}/1/os-flavor-access", token=admin).status == 404


def test_extra_specs(cloud: Cloud, admin: str) -> None:
    path = f"{FLAVORS}/1/os-extra_specs"
    made = cloud.post(path, json={"extra_specs": {"hw:numa_nodes": 1, "mine": "x"}}, token=admin)
    found = check(made, "flavors_extra_specs", "set_get_flavor_extra_specs")
    assert found == {"extra_specs": {"hw:numa_nodes": "1", "mine": "x"}}
    check(cloud.get(path, token=cloud.token()), "flavors_extra_specs", "set_get_flavor_extra_specs")
    one = cloud.get(f"{path}/mine", token=admin)
    assert check(one, "flavors_extra_specs", "set_get_flavor_extra_specs_key") == {"mine": "x"}
    assert cloud.put(f"{path}/mine", json={"mine": "y"}, token=admin).json == {"mine": "y"}
    assert cloud.put(f"{path}/mine", json={"yours": "y"}, token=admin).status == 400
    assert cloud.delete(f"{path}/mine", token=admin).status == 200
    assert cloud.delete(f"{path}/mine", token=admin).status == 404
    assert cloud.post(path, json={"extra_specs": {"a*b": "x"}}, token=admin).status == 400
    assert cloud.post(path, json={"extra_specs": {"a": "b"}}, token=cloud.token()).status == 403
    strict: dict[str, Any] = {"token": admin, "headers": headers((2, 86))}
    for specs, status in (
        ({"hw:cpu_policy": "dedicated", "resources:VGPU": "1", "mine:x": "y"}, 200),
        ({"hw:cpu_policy": "apples"}, 400),
        ({"hw:numa_nodes": "x"}, 400),
        ({"hw:apples": "1"}, 400),
        ({"trait:CUSTOM_X": "maybe"}, 400),
    ):
        assert cloud.post(path, json={"extra_specs": specs}, **strict).status == status, specs


@pytest.mark.parametrize("version", [(2, 1), (2, 2), (2, 10), (2, 35), (2, 91)])
def test_key_life(cloud: Cloud, version: tuple[int, int]) -> None:
    more: dict[str, Any] = {"token": cloud.token(), "headers": headers(version)}
    made = check(
        cloud.post(KEYS, json={"keypair": {"name": "new"}}, **more),
        "keypairs",
        "create_keypair",
        version,
    )
    assert made["keypair"]["private_key"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    body = {"keypair": {"name": "mine", "public_key": PUBLIC_KEY}}
    imported = check(cloud.post(KEYS, json=body, **more), "keypairs", "create_keypair", version)[
        "keypair"
    ]
    assert "private_key" not in imported
    assert len(imported["fingerprint"].split(":")) == 16
    assert cloud.post(KEYS, json=body, **more).status == 409
    listed = check(cloud.get(KEYS, **more), "keypairs", "list_keypairs", version)["keypairs"]
    assert [entry["keypair"]["name"] for entry in listed] == ["mine", "new"]
    check(cloud.get(f"{KEYS}/mine", **more), "keypairs", "get_keypair", version)
    assert cloud.get(f"{KEYS}/mine", token=cloud.token(user_id="other")).status == 404
    check(cloud.delete(f"{KEYS}/mine", **more), "keypairs", "delete_keypair", version)
    assert cloud.delete(f"{KEYS}/mine", **more).status == 404


def test_keys_of_others_and_other_kinds(cloud: Cloud, admin: str) -> None:
    token = cloud.token()
    cloud.post(KEYS, json={"keypair": {"name": "k", "public_key": PUBLIC_KEY}}, token=token)
    of_user = f"{KEYS}?user_id=user-1"
    assert len(cloud.get(of_user, token=admin, headers=headers((2, 10))).json["keypairs"]) == 1
    stranger = cloud.token(user_id="stranger")
    assert cloud.get(of_user, token=stranger, headers=headers((2, 10))).status == 403
    kind = {"keypair": {"name": "cert", "type": "x509"}}
    made = cloud.post(KEYS, json=kind, token=token, headers=headers((2, 2)))
    assert made.json["keypair"]["public_key"].startswith("-----BEGIN CERTIFICATE-----")
    assert cloud.post(KEYS, json=kind, token=token).status == 400
    imported = {
        "keypair": {
            "name": "again",
            "type": "x509",
            "public_key": made.json["keypair"]["public_key"],
        }
    }
    answer = cloud.post(KEYS, json=imported, token=token, headers=headers((2, 2)))
    assert answer.json["keypair"]["fingerprint"] == made.json["keypair"]["fingerprint"]
    new = cloud.post(KEYS, json={"keypair": {"name": "x"}}, token=token, headers=headers((2, 92)))
    assert new.status == 400


@pytest.mark.parametrize(
    "keypair",
    [
        {"name": ""},
        {"name": "x" * 256},
        {"name": "a@b"},
        {"name": "k", "public_key": "ssh-rsa garbage"},
        {"name": "k", "public_key": ""},
        {"name": "k", "type": "ssh"},
        {},
    ],
)
def test_bad_keys(cloud: Cloud, keypair: dict[str, Any]) -> None:
    token = cloud.token()
    assert cloud.post(KEYS, json={"keypair": keypair}, token=token).status == 400
    assert cloud.get(KEYS, token=token).json == {"keypairs": []}


def test_key_quota(cloud: Cloud, admin: str) -> None:
    cloud.put(
        "/compute/v2.1/os-quota-sets/project-1", json={"quota_set": {"key_pairs": 1}}, token=admin
    )
    token = cloud.token()
    body = {"keypair": {"name": "a", "public_key": PUBLIC_KEY}}
    assert cloud.post(KEYS, json=body, token=token).status == 200
    body["keypair"]["name"] = "b"
    assert cloud.post(KEYS, json=body, token=token).status == 403
    cloud.delete(f"{KEYS}/a", token=token)
    assert cloud.post(KEYS, json=body, token=token).status == 200
