# ruff: noqa: E501 - tables of cases read better in long lines
"""Versions of objects in both ways, and symlinks."""

import hashlib

import pytest

from node.plugins.object.tables import Container
from node.sdk import patch
from tests.api.object_store.swift import OTHER, Swift

EMPTY = hashlib.md5(b"").hexdigest()


def listed(swift: Swift, query: str = "") -> list[tuple[str, str, bool, int]]:
    items = swift.get(f"/c?versions{query}").json
    return [(i["name"], i["version_id"], i["is_latest"], i["bytes"]) for i in items]


def test_versions(swift: Swift) -> None:
    swift.put("/c")
    swift.put("/c/o", b"null")
    swift.post("/c", x_versions_enabled="true")
    assert swift.head("/c").headers["x-versions-enabled"] == "True"
    one = swift.put("/c/o", b"1").headers["x-object-version-id"]
    two = swift.put("/c/o", b"22").headers["x-object-version-id"]
    assert listed(swift) == [("o", two, True, 2), ("o", one, False, 1), ("o", "null", False, 4)]
    assert swift.names("/c") == ["o"]
    got = swift.get("/c/o")
    assert (got.body, got.headers["x-object-version-id"]) == (b"22", two)
    for version, body in ((one, b"1"), (two, b"22"), ("null", b"null")):
        got = swift.get(f"/c/o?version-id={version}")
        assert (got.body, got.headers["x-object-version-id"]) == (body, version)
    gone = swift.delete("/c/o")
    assert gone.status == 204
    marker = gone.headers["x-object-version-id"]
    assert swift.get("/c/o").status == 404
    assert swift.names("/c") == []
    item = swift.get("/c?versions").json[0]
    assert (item["version_id"], item["is_latest"], item["bytes"], item["hash"]) == (marker, True, 0, EMPTY)
    assert item["content_type"] == "application/x-deleted;swift_versions_deleted=1"
    there = swift.get(f"/c/o?version-id={marker}")
    assert (there.status, there.headers["x-object-version-id"]) == (404, marker)
    assert swift.delete("/c").status == 409
    for version in (marker, two):
        told = swift.delete(f"/c/o?version-id={version}")
        assert (told.status, told.headers["x-object-version-id"]) == (204, version)
    assert swift.delete(f"/c/o?version-id={two}").status == 404


def test_an_old_version_made_new(swift: Swift) -> None:
    swift.put("/c", x_versions_enabled="true")
    one = swift.put("/c/o", b"1", x_object_meta_a="b", content_type="x/y").headers["x-object-version-id"]
    swift.put("/c/o", b"2")
    assert swift.ask("PUT", f"/c/o?version-id={one}").status == 201
    got = swift.get("/c/o")
    assert (got.body, got.headers["x-object-meta-a"], got.headers["content-type"]) == (b"1", "b", "x/y")
    assert swift.ask("PUT", f"/c/o?version-id={one}", body=b"x").status == 400
    assert swift.ask("PUT", "/c/o?version-id=none").status == 404
    assert swift.post(f"/c/o?version-id={one}", x_object_meta_a="c").status == 400
    assert swift.ask("COPY", f"/c/o?version-id={one}", destination="c/p").status == 201


def test_versions_stopped(swift: Swift) -> None:
    swift.put("/c", x_versions_enabled="true")
    swift.put("/c/o", b"1")
    swift.post("/c", x_versions_enabled="false")
    assert swift.head("/c").headers["x-versions-enabled"] == "False"
    assert "x-object-version-id" not in swift.put("/c/o", b"2").headers
    swift.put("/c/o", b"3")
    assert next((v, latest) for _n, v, latest, _b in listed(swift)) == ("null", True)
    assert len(listed(swift)) == 2
    assert swift.delete("/c/o").status == 204
    assert swift.get("/c/o").status == 404


def test_versions_are_asked_for_only_where_they_are_kept(swift: Swift) -> None:
    swift.put("/c")
    swift.put("/c/o", b"1")
    assert swift.get("/c/o?version-id=1").status == 400
    assert swift.delete("/c/o?version-id=1").status == 400
    assert swift.get("/c/o?version-id=null").body == b"1"
    assert listed(swift) == [("o", "null", True, 1)]
    assert swift.get("/c?versions&version_marker=x").status == 400
    assert swift.post("/c", x_versions_location="d").status == 204
    assert swift.post("/c", x_versions_enabled="true").status == 400


def test_pages_of_versions(swift: Swift) -> None:
    swift.put("/c", x_versions_enabled="true")
    for name in ("a", "b"):
        for body in (b"1", b"2", b"3"):
            swift.put(f"/c/{name}", body)
    whole, found, query = listed(swift), [], ""
    while page := listed(swift, f"&limit=2{query}"):
        found += page
        query = f"&marker={page[-1][0]}&version_marker={page[-1][1]}"
    assert found == whole
    assert len(whole) == 6


@pytest.mark.parametrize("header", ["X-Versions-Location", "X-History-Location"])
def test_copies_in_another_container(swift: Swift, header: str) -> None:
    swift.put("/old")
    swift.put("/c", headers={header: "old"})
    assert swift.head("/c").headers[header.lower()] == "old"
    swift.put("/c/o", b"1", x_object_meta_a="1")
    assert swift.names("/old") == []
    swift.put("/c/o", b"22")
    (copy,) = swift.names("/old")
    assert copy.startswith("001o/")
    got = swift.get(f"/old/{copy}")
    assert (got.body, got.headers["x-object-meta-a"]) == (b"1", "1")
    assert swift.delete("/c/o").status == 204
    if header == "X-Versions-Location":
        got = swift.get("/c/o")
        assert (got.body, got.headers["x-object-meta-a"]) == (b"1", "1")
        assert swift.names("/old") == []
        assert swift.delete("/c/o").status == 204
    else:
        kinds = [i["content_type"] for i in swift.get("/old?format=json").json]
        assert kinds[-1] == "application/x-deleted;swift_versions_deleted=1"
        assert len(kinds) == 3
    assert swift.get("/c/o").status == 404
    swift.post("/c", headers={f"X-Remove-{header[2:]}": "x"})
    assert header.lower() not in swift.head("/c").headers


def test_copies_need_their_container(swift: Swift) -> None:
    swift.put("/c", x_versions_location="none")
    swift.put("/c/o", b"1")
    assert swift.ask("PUT", "/c/o", body=b"2").status == 412
    assert swift.get("/c/o").body == b"1"
    assert swift.post("/c", x_versions_location="a/b").status == 412
    assert swift.post("/c", x_versions_location="a", x_history_location="b").status == 400


def test_links(swift: Swift) -> None:
    swift.put("/c")
    swift.put("/c/o", b"data", x_object_meta_a="b", content_type="x/y")
    swift.put("/c/l", x_symlink_target="c/o", x_object_meta_own="1")
    got = swift.get("/c/l")
    assert (got.body, got.headers["x-object-meta-a"]) == (b"data", "b")
    assert got.headers["content-location"] == "/v1/AUTH_project-1/c/o"
    own = swift.get("/c/l?symlink=get")
    assert (own.body, own.headers["x-symlink-target"], own.headers["x-object-meta-own"]) == (b"", "c/o", "1")
    assert own.headers["content-type"] == "application/symlink"
    item = next(i for i in swift.get("/c?format=json").json if i["name"] == "l")
    assert (item["symlink_path"], item["bytes"]) == ("/v1/AUTH_project-1/c/o", 0)
    assert swift.get("/c/l", range="bytes=1-2").body == b"at"
    moved = swift.post("/c/l", x_object_meta_b="c")
    assert (moved.status, moved.headers["location"]) == (307, "/object-store/v1/AUTH_project-1/c/o")
    swift.ask("COPY", "/c/l", destination="c/copy")
    swift.ask("COPY", "/c/l?symlink=get", destination="c/l2")
    assert swift.head("/c/copy?symlink=get").headers["content-length"] == "4"
    assert swift.head("/c/l2?symlink=get").headers["x-symlink-target"] == "c/o"
    swift.delete("/c/o")
    gone = swift.get("/c/l")
    assert (gone.status, gone.headers["content-location"]) == (404, "/v1/AUTH_project-1/c/o")
    assert swift.delete("/c/l").status == 204


def test_links_to_links(swift: Swift) -> None:
    swift.put("/c")
    swift.put("/c/0", b"data")
    for number in range(1, 4):
        swift.put(f"/c/{number}", x_symlink_target=f"c/{number - 1}")
    assert swift.get("/c/2").body == b"data"
    assert swift.get("/c/3").status == 409
    swift.put("/c/a", x_symlink_target="c/b")
    swift.put("/c/b", x_symlink_target="c/a")
    assert swift.get("/c/a").status == 409


def test_static_links(swift: Swift) -> None:
    swift.put("/c")
    etag = swift.put("/c/o", b"data", content_type="x/y").headers["etag"]
    made = swift.put("/c/l", x_symlink_target="c/o", x_symlink_target_etag=etag)
    assert made.headers["content-location"] == "/v1/AUTH_project-1/c/o"
    own = swift.head("/c/l?symlink=get").headers
    assert (own["x-symlink-target-etag"], own["x-symlink-target-bytes"], own["content-type"]) == (etag, "4", "x/y")
    item = next(i for i in swift.get("/c?format=json").json if i["name"] == "l")
    assert (item["symlink_etag"], item["symlink_bytes"]) == (etag, 4)
    assert swift.get("/c/l").body == b"data"
    swift.put("/c/o", b"other")
    assert swift.get("/c/l").status == 409
    wrong = swift.ask("PUT", "/c/m", x_symlink_target="c/o", x_symlink_target_etag=etag)
    assert (wrong.status, b"does not match" in wrong.body) == (409, True)
    none = swift.ask("PUT", "/c/m", x_symlink_target="c/none", x_symlink_target_etag=etag)
    assert (none.status, none.body) == (409, b"X-Symlink-Target does not exist")
    assert swift.ask("PUT", "/c/m", x_symlink_target="c/o", x_symlink_target_etag='a;b').status == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Symlink-Target": "/c/o"}, 412), ({"X-Symlink-Target": "c"}, 412), ({"X-Symlink-Target": ""}, 412),
        ({"X-Symlink-Target": "c/l"}, 400), ({"X-Symlink-Target": "c/o", "X-Symlink-Target-Account": "a/b"}, 412),
        ({"X-Symlink-Target": "c/%ff"}, 412),
    ],
)  # fmt: skip
def test_links_that_cannot_be(swift: Swift, headers: dict[str, str], status: int) -> None:
    swift.put("/c")
    assert swift.ask("PUT", "/c/l", headers=headers).status == status
    assert swift.ask("PUT", "/c/l", body=b"x", x_symlink_target="c/o").status == 400
    assert swift.post("/c/l", x_symlink_target="c/o").status == 400


def test_links_open_nothing(swift: Swift) -> None:
    swift.put("/c")
    swift.put("/c/secret", b"secret")
    swift.ask("PUT", "/d", account=OTHER, token=swift.other)
    link = {"account": OTHER, "token": swift.other, "x_symlink_target": "c/secret", "x_symlink_target_account": "AUTH_project-1"}
    assert swift.ask("PUT", "/d/l", **link).status == 201
    refused = swift.get("/d/l", account=OTHER, token=swift.other)
    assert (refused.status, b"secret" in refused.body) == (403, False)
    etag = hashlib.md5(b"secret").hexdigest()
    assert swift.ask("PUT", "/d/m", **link, x_symlink_target_etag=etag).status == 403
    assert swift.ask("PUT", "/d/m", **link, x_symlink_target_etag="0" * 32).status == 403
    swift.share("c", read=f"{OTHER}:*")
    assert swift.get("/d/l", account=OTHER, token=swift.other).body == b"secret"


def test_what_s3_locks_stays(swift: Swift) -> None:
    swift.put("/c", x_versions_enabled="true")
    one = swift.put("/c/o", b"1").headers["x-object-version-id"]
    container = next(iter(swift.cloud.db.rows(Container)))
    entry = swift.objects.head(container.id, "o", one)
    assert entry is not None
    swift.objects.update(entry, sys={"s3-hold": "ON"})
    swift.cloud.commit(patch(Container, container.id, sys={"s3-lock": "on"}))
    refused = swift.delete(f"/c/o?version-id={one}")
    assert (refused.status, b"locked" in refused.body) == (403, True)
    assert swift.post("/c", x_versions_enabled="false").status == 409
    assert swift.delete("/c/o").status == 204  # only hides it
    assert swift.delete("", token=swift.reseller).status == 403
    assert swift.get(f"/c/o?version-id={one}", token=swift.reseller).status == 410


def test_what_s3_encrypts_with_an_owner_s_key_is_read_there(swift: Swift) -> None:
    swift.put("/c")
    swift.put("/c/o", b"cipher")
    container = next(iter(swift.cloud.db.rows(Container)))
    entry = swift.objects.head(container.id, "o")
    assert entry is not None
    swift.objects.update(entry, sys={"s3-ssec-nonce": "x"})
    assert swift.get("/c/o").status == 409
    assert swift.ask("COPY", "/c/o", destination="c/p").status == 409
    assert swift.head("/c/o").status == 200
