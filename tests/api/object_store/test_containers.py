# ruff: noqa: E501 - tables of cases read better in long lines
"""Accounts and containers: making, metadata, limits, deletion; and what is told of them."""

import hmac

import pytest

from node.plugins.object.tables import StoragePolicy
from node.sdk import insert
from tests.api.object_store.swift import OTHER, OWN, Swift


def test_the_life_of_a_container(swift: Swift) -> None:
    made = swift.ask("PUT", "/c", x_container_meta_Color="blue")
    assert (made.status, made.body) == (201, b"")
    again = swift.ask("PUT", "/c", x_container_meta_size="9")
    assert (again.status, b"accepted for processing" in again.body) == (202, True)
    head = swift.head("/c")
    assert (head.status, head.headers["x-untyped"]) == (204, "text/plain; charset=utf-8")
    told = head.headers
    assert (told["x-container-object-count"], told["x-container-bytes-used"]) == ("0", "0")
    assert (told["x-container-meta-color"], told["x-container-meta-size"]) == ("blue", "9")
    assert told["accept-ranges"] == "bytes"
    assert told["last-modified"].endswith("GMT")
    swift.put("/c/o", b"12345")
    told = swift.head("/c").headers
    assert (told["x-container-object-count"], told["x-container-bytes-used"]) == ("1", "5")
    refused = swift.delete("/c")
    assert (refused.status, b"conflict" in refused.body) == (409, True)
    swift.delete("/c/o")
    assert swift.delete("/c").status == 204
    for method in ("GET", "HEAD", "POST", "DELETE"):
        assert swift.ask(method, "/c").status == 404
    assert swift.ask("PUT", "/c/o", body=b"x").status == 404


def test_a_container_made_again_is_another_one(swift: Swift) -> None:
    swift.put("/c", x_container_meta_color="blue")
    swift.delete("/c")
    swift.put("/c")
    assert "x-container-meta-color" not in swift.head("/c").headers
    assert swift.names("/c") == []


def test_metadata_is_changed_item_by_item(swift: Swift) -> None:
    swift.put("/c", x_container_meta_a="1", x_container_meta_b="2", x_container_meta_d="4")
    swift.post("/c", x_container_meta_c="3", x_remove_container_meta_a="x", x_container_meta_b="")
    told = {k for k in swift.head("/c").headers if k.startswith("x-container-meta")}
    assert told == {"x-container-meta-c", "x-container-meta-d"}
    assert swift.ask("POST", "", x_account_meta_a="1", x_account_meta_b="2").status == 204
    assert swift.ask("POST", "", x_remove_account_meta_a="x", x_account_meta_c="3").status == 204
    told = {k for k in swift.head("").headers if k.startswith("x-account-meta")}
    assert told == {"x-account-meta-b", "x-account-meta-c"}


@pytest.mark.parametrize("kind", ["Account", "Container"])
@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"": "x"}, b"Metadata name cannot be empty"),
        ({"n" * 129: "x"}, b"Metadata name too long"),
        ({"N": "v" * 257}, b"Metadata value longer than 256"),
        ({str(n): "x" for n in range(91)}, b"Too many metadata items; max 90"),
        ({str(n): "v" * 256 for n in range(17)}, b"Total metadata too large; max 4096"),
        ({"N": "\xff\xfe"}, b"Metadata must be valid UTF-8"),
    ],
)
def test_limits_of_metadata(swift: Swift, kind: str, headers: dict[str, str], text: bytes) -> None:
    swift.put("/c")
    sent = {f"X-{kind}-Meta-{name}": value for name, value in headers.items()}
    path = "" if kind == "Account" else "/c"
    answer = swift.post(path, headers=sent)
    assert (answer.status, text in answer.body) == (400, True), answer.body
    assert not [k for k in swift.head(path).headers if "-meta-" in k]


def test_metadata_does_not_grow_beyond_its_limits_bit_by_bit(swift: Swift) -> None:
    swift.put("/c")
    for first in range(0, 90, 30):
        headers = {f"X-Container-Meta-{n}": "x" for n in range(first, first + 30)}
        assert swift.post("/c", headers=headers).status == 204
    assert swift.post("/c", x_container_meta_more="x").status == 400
    assert swift.post("/c", x_container_meta_0="other").status == 204


def test_names_of_containers(swift: Swift) -> None:
    answer = swift.ask("PUT", f"/{'n' * 257}")
    assert (answer.status, answer.body) == (400, b"Container name length of 257 longer than 256")
    for name in ("n" * 256, "..", ".", "ü", "a b", "a%2Fb"[:1] + "é"):
        swift.put(f"/{name}")
        assert swift.head(f"/{name}").status == 204
    assert ".." in swift.names("")


def test_what_is_told_of_an_account(swift: Swift) -> None:
    told = swift.head("").headers
    assert [told[f"x-account-{n}"] for n in ("container-count", "object-count", "bytes-used")] == ["0", "0", "0"]
    assert swift.get("").status == 204
    for name in ("b", "a"):
        swift.put(f"/{name}")
        swift.put(f"/{name}/o", b"123")
    told = swift.head("").headers
    assert [told[f"x-account-{n}"] for n in ("container-count", "object-count", "bytes-used")] == ["2", "2", "6"]
    listed = swift.get("?format=json")
    assert [(i["name"], i["count"], i["bytes"]) for i in listed.json] == [("a", 1, 3), ("b", 1, 3)]
    assert swift.get("").body == b"a\nb\n"
    xml = swift.get("?format=xml").body.decode()
    assert xml.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<account name="AUTH_project-1">')
    assert "<container><name>a</name><count>1</count><bytes>3</bytes><last_modified>" in xml


def test_listings_of_an_account_are_cut_like_those_of_a_container(swift: Swift) -> None:
    for name in ("a", "b-1", "b-2", "c", "ü"):
        swift.put(f"/{name}")
    assert swift.names("?limit=2") == ["a", "b-1"]
    assert swift.names("?marker=b-1") == ["b-2", "c", "%C3%BC".replace("%C3%BC", "ü")]
    assert swift.names("?end_marker=b-2") == ["a", "b-1"]
    assert swift.names("?prefix=b") == ["b-1", "b-2"]
    assert swift.names("?delimiter=-") == ["a", "b-", "c", "ü"]
    assert swift.names("?delimiter=-&marker=b-1") == ["b-", "c", "ü"]
    assert swift.names("?reverse=true&limit=3") == ["ü", "c", "b-2"]
    assert swift.names("?reverse=on&marker=c&end_marker=a") == ["b-2", "b-1"]
    assert swift.get("?limit=10001").status == 412


def test_storage_policies(swift: Swift) -> None:
    for number, name in ((7, "silver"), (8, "rust")):
        row = StoragePolicy(id=str(number), name=name, deprecated=name == "rust", aliases=["ag"] if number == 7 else [])
        swift.cloud.commit(insert(row))
    (first,) = (p["name"] for p in swift.cloud.get("/info").json["swift"]["policies"] if p.get("default"))
    swift.put("/c")
    swift.put("/d", x_storage_policy="Silver")
    swift.put("/e", x_storage_policy="ag")
    told = [swift.head(path).headers["x-storage-policy"] for path in ("/c", "/d", "/e")]
    assert told == [first, "silver", "silver"]
    answer = swift.ask("PUT", "/f", x_storage_policy="lead")
    assert (answer.status, answer.body) == (400, b"Invalid X-Storage-Policy 'lead'")
    assert swift.ask("PUT", "/f", x_storage_policy="rust").status == 400
    assert swift.ask("PUT", "/c", x_storage_policy="silver").status == 409
    assert swift.ask("PUT", "/c", x_storage_policy=first).status == 202
    swift.put("/d/o", b"123")
    account = swift.head("").headers
    assert account["x-account-storage-policy-silver-bytes-used"] == "3"
    assert account["x-account-storage-policy-silver-container-count"] == "2"
    shown = {p["name"] for p in swift.cloud.get("/info").json["swift"]["policies"]}
    assert "silver" in shown and "rust" not in shown


def test_accounts_are_made_and_deleted_by_administrators_only(swift: Swift) -> None:
    assert swift.ask("PUT", "").status == 403
    assert swift.delete("").status == 403
    assert swift.ask("PUT", "", token=swift.reseller, account="fresh").status == 201
    assert swift.ask("PUT", "", token=swift.reseller, account="fresh").status == 202
    swift.put("/c", x_versions_enabled="true")
    for body in (b"1", b"2"):
        swift.put("/c/o", body)
    swift.put("/d")
    assert swift.delete("", token=swift.reseller).status == 204
    assert swift.names("", token=swift.reseller) == []
    assert swift.objects.blobs == {}
    swift.put("/c")
    assert swift.names("/c") == []


def test_quotas_of_containers(swift: Swift) -> None:
    swift.put("/c", x_container_meta_quota_bytes="5", x_container_meta_quota_count="2")
    assert swift.ask("PUT", "/c/o", body=b"123456").status == 413
    swift.put("/c/o", b"123")
    answer = swift.ask("PUT", "/c/p", body=b"123")
    assert (answer.status, answer.body) == (413, b"Upload exceeds quota.")
    assert swift.ask("PUT", "/c/p", body=b"x" * 70_000, transfer_encoding="chunked").status == 413
    swift.put("/c/p", b"12")
    assert swift.ask("PUT", "/c/q").status == 413
    assert swift.ask("COPY", "/c/o", destination="c/q").status == 413
    for name in ("bytes", "count"):
        answer = swift.post("/c", headers={f"X-Container-Meta-Quota-{name}": "x"})
        assert (answer.status, answer.body) == (400, f"Invalid {name} quota.".encode())


def test_quotas_of_accounts(swift: Swift) -> None:
    swift.put("/c")
    for headers in ({"X-Account-Meta-Quota-Bytes": "5"}, {"X-Account-Quota-Count": "5"}, {"X-Remove-Account-Meta-Quota-Bytes": "x"}):
        assert swift.post("", headers=headers).status == 403
        assert swift.post("", headers=headers, token=swift.reseller).status == 204
    assert swift.post("", x_account_quota_bytes="x", token=swift.reseller).status == 400
    assert swift.post("", x_account_quota_bytes="5", token=swift.reseller).status == 204
    assert swift.head("").headers["x-account-quota-bytes"] == "5"
    swift.put("/d")
    swift.put("/d/o", b"123")
    assert swift.ask("PUT", "/c/o", body=b"123").status == 413
    assert swift.post("", x_account_meta_quota_bytes="", token=swift.reseller).status == 204
    swift.put("/c/o", b"123")


def test_rates(tmp_path_factory: pytest.TempPathFactory) -> None:
    slow = Swift(tmp_path_factory.mktemp("slow"), "[swift]\ncontainer_writes_per_s = 0.01\nrate_wait_s = 0\n")
    try:
        slow.put("/c")
        slow.put("/c/o", b"x")
        answer = slow.ask("PUT", "/c/o", body=b"x")
        assert (answer.status, answer.body) == (498, b"Slow down")
        slow.put("/d")
        slow.put("/d/o", b"x")
        assert slow.get("/c/o").status == 200
    finally:
        slow.close()


def test_what_it_can_do(swift: Swift) -> None:
    for path in ("/info", "/object-store/info"):
        info = swift.cloud.get(path)
        assert info.status == 200
        assert {"slo", "dlo", "tempurl", "bulk_upload", "bulk_delete", "symlink", "staticweb", "formpost"} <= set(info.json)
    assert info.json["swift"]["max_file_size"] == 5 << 30
    assert "admin" not in info.json
    assert swift.cloud.get("/info?swiftinfo_sig=x&swiftinfo_expires=1").status == 403
    for path in ("/healthcheck", "/object-store/healthcheck"):
        assert swift.cloud.get(path).body == b"OK"


def test_methods_that_are_not_there(swift: Swift) -> None:
    for path in ("", "/c", "/c/o"):
        answer = swift.ask("PATCH", path)
        assert answer.status == 405
        assert "GET" in answer.headers["allow"]
    assert swift.ask("COPY", "/c").status == 405


def test_an_account_that_nobody_can_have(swift: Swift) -> None:
    for account in ("project-1", ".hidden", ""):
        for path in ("", "/c", "/c/o"):
            answer = swift.cloud.get(f"/object-store/v1/{account or 'AUTH_'}{path}", token=swift.owner)
            assert answer.status == 403, (account, path)
    assert swift.get("", account=OTHER).status == 403
    assert swift.get("", account=OWN).status == 204


def test_all_that_it_can_do_is_for_administrators(tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = Swift(tmp_path_factory.mktemp("kept"), "[swift]\ninfo_admin_key = key\n")
    try:
        at = kept.cloud.clock.now_us() // 1_000_000 + 9
        for when, key, status in ((at, b"key", 200), (at, b"other", 401), (at - 10, b"key", 401)):
            signature = hmac.new(key, f"GET\n{when}\n/info".encode(), "sha256").hexdigest()
            answer = kept.cloud.get(f"/info?swiftinfo_sig={signature}&swiftinfo_expires={when}")
            assert (answer.status, b'"admin"' in answer.body) == (status, status == 200)
        assert kept.cloud.get("/info?swiftinfo_sig=x&swiftinfo_expires=x").status == 401
        assert kept.cloud.get("/info", headers={"Origin": "http://a.com"}).headers["access-control-allow-origin"] == "http://a.com"
    finally:
        kept.close()


def test_old_plug_ins_of_browsers_may_do_nothing(swift: Swift) -> None:
    for path in ("/crossdomain.xml", "/object-store/crossdomain.xml"):
        assert swift.cloud.get(path).body.endswith(b"<cross-domain-policy>\n</cross-domain-policy>")
