# ruff: noqa: E501 - tables of cases read better in long lines
"""Who may do what: roles, access lists, referrers, other projects."""

import json

import pytest

from tests.api.object_store.swift import OTHER, Swift

EVERYTHING = [
    (method, path)
    for path, methods in {"": "GET HEAD POST PUT DELETE", "/c": "GET HEAD PUT POST DELETE", "/c/o": "GET HEAD PUT POST DELETE COPY"}.items()
    for method in methods.split()
]  # fmt: skip


@pytest.fixture(autouse=True)
def container(swift: Swift) -> None:
    swift.put("/c")
    swift.put("/c/o", b"secret")


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_strangers_and_other_projects_are_refused(swift: Swift, method: str, path: str) -> None:
    headers = {"Destination": "c/p"}
    none = swift.ask(method, path, token="", headers=headers)
    assert none.status == 401
    assert none.headers["www-authenticate"] == 'Swift realm="AUTH_project-1"'
    other = swift.ask(method, path, token=swift.other, headers=headers)
    assert other.status == 403
    for answer in (none, other):
        assert b"secret" not in answer.body and "x-container-object-count" not in answer.headers


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_what_is_missing_looks_the_same_to_others(swift: Swift, method: str, path: str) -> None:
    there = swift.ask(method, path, token=swift.other, destination="c/p")
    missing = swift.ask(method, path.replace("c", "x").replace("o", "y"), token=swift.other, destination="c/p")
    assert (there.status, there.body) == (missing.status, missing.body)


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_readers_read(swift: Swift, method: str, path: str) -> None:
    answer = swift.ask(method, path, token=swift.reader, destination="c/p")
    assert (answer.status < 300) == (method in ("GET", "HEAD")), answer.status


def test_a_member_without_a_role_that_counts_is_nobody(swift: Swift) -> None:
    token = swift.cloud.token(roles=("service",), user_id="user-9")
    assert swift.get("/c", token=token).status == 403
    swift.share("c", read="service")
    assert swift.get("/c", token=token).status == 200
    other = swift.cloud.token(roles=("service",), user_id="user-9", project_id=OTHER)
    assert swift.get("/c", token=other).status == 403


def test_resellers_do_everything(swift: Swift) -> None:
    assert swift.get("/c/o", token=swift.reseller).body == b"secret"
    assert swift.ask("PUT", "/c/p", body=b"x", token=swift.reseller).status == 201
    assert swift.post("/c", x_container_read=".r:*", token=swift.reseller).status == 204


@pytest.mark.parametrize(
    ("acl", "allowed"),
    [
        (f"{OTHER}:user-2", True), (f"{OTHER}:*", True), ("*:user-2", True), ("*:*", True), (f"x:y, {OTHER}:user-2", True),
        (OTHER, False), ("user-2", False), (f"{OTHER}:user-3", False), ("project-4:user-2", False), ("member", False),
        (".r:*", True), (".r:example.com", False), ("", False),
    ],
)  # fmt: skip
def test_lists_of_readers(swift: Swift, acl: str, allowed: bool) -> None:
    swift.share("c", read=acl)
    assert (swift.get("/c/o", token=swift.other).status == 200) == allowed
    assert (swift.get("/c", token=swift.other).status == 200) == (allowed and ".r" not in acl)
    for method, path in EVERYTHING:
        if method not in ("GET", "HEAD"):
            assert swift.ask(method, path, token=swift.other, destination="c/p").status == 403


def test_names_count_within_the_default_domain_only(swift: Swift) -> None:
    swift.share("c", read="Acme:jo")
    names = {"user_name": "jo", "project_name": "Acme", "project_id": OTHER, "user_id": "u"}
    assert swift.get("/c/o", token=swift.cloud.token(**names)).status == 200


def test_lists_of_writers(swift: Swift) -> None:
    swift.share("c", write=f"{OTHER}:user-2")
    assert swift.get("/c/o", token=swift.other).status == 403
    assert swift.ask("PUT", "/c/p", body=b"x", token=swift.other).status == 201
    assert swift.post("/c/p", x_object_meta_a="b", token=swift.other).status == 202
    assert swift.delete("/c/p", token=swift.other).status == 204
    assert swift.ask("COPY", "/c/o", destination="c/p", token=swift.other).status == 403
    for method in ("GET", "PUT", "POST", "DELETE"):
        assert swift.ask(method, "/c", token=swift.other).status == 403


def test_public_containers(swift: Swift) -> None:
    swift.share("c", read=".r:*")
    assert swift.get("/c/o", token="").body == b"secret"
    assert swift.get("/c", token="").status == 401
    assert swift.get("", token="").status == 401
    swift.share("c", read=".r:*,.rlistings")
    answer = swift.get("/c", token="")
    assert answer.body == b"o\n"
    assert "x-container-read" not in answer.headers
    assert swift.head("/c").headers["x-container-read"] == ".r:*,.rlistings"
    assert swift.ask("PUT", "/c/o", body=b"x", token="").status == 401


@pytest.mark.parametrize(
    ("acl", "referrer", "allowed"),
    [
        (".r:example.com", "http://example.com/page", True), (".r:example.com", "http://www.example.com/", False),
        (".r:.example.com", "http://www.example.com:8080/", True), (".r:*.example.com", "https://a.b.example.com", True),
        (".r:*,.r:-evil.com", "http://evil.com/", False), (".r:*,.r:-.evil.com", "http://x.evil.com/", False),
        (".r:-evil.com,.r:*", "http://evil.com/", True), (".r:example.com", "", False), (".r:example.com", "http://[bad", False),
    ],
)  # fmt: skip
def test_referrers(swift: Swift, acl: str, referrer: str, allowed: bool) -> None:
    swift.share("c", read=acl)
    answer = swift.get("/c/o", token="", referer=referrer)
    assert answer.status == (200 if allowed else 401)


@pytest.mark.parametrize(
    ("header", "value", "text"),
    [
        ("X-Container-Read", ".r:", b"No host/domain value"), ("X-Container-Read", ".r:-", b"No host/domain value"),
        ("X-Container-Read", ".x:y", b"Unknown designator"), ("X-Container-Write", ".r:*", b"Referrers not allowed in write ACL"),
    ],
)  # fmt: skip
def test_lists_that_cannot_be(swift: Swift, header: str, value: str, text: bytes) -> None:
    answer = swift.post("/c", headers={header: value})
    assert (answer.status, text in answer.body) == (400, True), answer.body


def test_lists_are_cleaned_and_removed(swift: Swift) -> None:
    swift.share("c", read=" .referrer : *.x.com , a:b ,, c:d ", write="a:b")
    told = swift.head("/c").headers
    assert (told["x-container-read"], told["x-container-write"]) == (".r:.x.com,a:b,c:d", "a:b")
    swift.post("/c", x_remove_container_read="x", x_container_write="")
    told = swift.head("/c").headers
    assert "x-container-read" not in told and "x-container-write" not in told
    assert "x-container-read" not in swift.head("/c", token=swift.reader).headers


def test_secrets_are_for_owners(swift: Swift) -> None:
    swift.post("", x_account_meta_temp_url_key="k1", x_account_meta_color="blue")
    swift.post("/c", x_container_meta_temp_url_key="k2")
    assert swift.head("").headers["x-account-meta-temp-url-key"] == "k1"
    assert swift.head("/c").headers["x-container-meta-temp-url-key"] == "k2"
    told = swift.head("", token=swift.reader).headers
    assert told["x-account-meta-color"] == "blue"
    assert "x-account-meta-temp-url-key" not in told
    assert "x-container-meta-temp-url-key" not in swift.head("/c", token=swift.reader).headers


def test_access_to_accounts(swift: Swift) -> None:
    def give(**levels: list[str]) -> None:
        text = json.dumps({name.replace("_", "-"): names for name, names in levels.items()})
        assert swift.post("", x_account_access_control=text).status == 204

    give(read_only=["user-2"])
    assert swift.get("/c/o", token=swift.other).status == 200
    assert swift.get("", token=swift.other).status == 200
    assert swift.ask("PUT", "/c/p", body=b"x", token=swift.other).status == 403
    assert "x-account-access-control" not in swift.head("", token=swift.other).headers
    give(read_write=[f"{OTHER}:*"])
    assert swift.ask("PUT", "/c/p", body=b"x", token=swift.other).status == 201
    assert swift.ask("PUT", "/d", token=swift.other, x_container_read=".r:*").status == 201
    assert "x-container-read" not in swift.head("/d").headers
    assert swift.post("", x_account_meta_a="b", token=swift.other).status == 403
    give(admin=["user-2"])
    assert swift.post("", x_account_meta_a="b", token=swift.other).status == 204
    assert "x-account-access-control" in swift.head("", token=swift.other).headers
    swift.post("", x_account_access_control="")
    assert swift.get("/c/o", token=swift.other).status == 403
    for bad in ("x", "[]", '{"x": []}', '{"admin": "x"}', '{"admin": [1]}'):
        assert swift.post("", x_account_access_control=bad).status == 400, bad
