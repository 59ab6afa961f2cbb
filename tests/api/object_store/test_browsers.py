# ruff: noqa: E501 - tables of cases read better in long lines
"""Containers as web sites, and pages of other origins."""

import pytest

from tests.api.object_store.swift import Swift

FILES = {"index.html": b"<root>", "sub/index.html": b"<sub>", "sub/file.txt": b"f", "list/a": b"a", "list/deep/b": b"b", "404error.html": b"<404>",
         "401error.html": b"<401>"}  # fmt: skip


@pytest.fixture
def site(swift: Swift) -> Swift:
    swift.put("/w", x_container_read=".r:*,.rlistings")
    for name, body in FILES.items():
        swift.put(f"/w/{name}", body, content_type="text/html")
    return swift


def anonymous(swift: Swift, path: str, **more: str) -> tuple[int, bytes]:
    answer = swift.get(path, token="", **more)
    return answer.status, answer.body


def test_index_pages(site: Swift) -> None:
    assert anonymous(site, "/w/")[1].startswith(b"401error.html\n")
    site.post("/w", x_container_meta_web_index="index.html")
    assert anonymous(site, "/w/") == (200, b"<root>")
    moved = site.get("/w", token="")
    assert (moved.status, moved.headers["location"]) == (301, "/object-store/v1/AUTH_project-1/w/")
    assert anonymous(site, "/w/sub/") == (200, b"<sub>")
    assert site.get("/w/sub", token="").status == 301
    assert anonymous(site, "/w/sub/file.txt") == (200, b"f")
    assert anonymous(site, "/w/none")[0] == 404
    status, body = anonymous(site, "/w/list/")
    assert (status, b"Listing Disabled" in body) == (404, True)
    assert site.get("/w/").body.startswith(b"401error.html\n")  # with a token it is a container
    assert site.get("/w/", x_web_mode="true").body == b"<root>"
    assert site.head("/w/", token="").status == 200


def test_listings(site: Swift) -> None:
    site.post("/w", x_container_meta_web_listings="true", x_container_meta_web_listings_css="style.css")
    status, body = anonymous(site, "/w/list/")
    assert status == 200
    text = body.decode()
    assert '<a href="./a">a</a>' in text and '<a href="./deep/">deep/</a>' in text and '<a href="../">' in text
    assert 'href="../style.css"' in text
    assert site.get("/w/list", token="").status == 301
    assert anonymous(site, "/w/none/")[0] == 404
    site.post("/w", x_container_meta_web_listings_label="example.com")
    assert "Listing of example.com/list/" in anonymous(site, "/w/list/")[1].decode()
    site.put("/w/list/<b>&'\"", b"x")
    assert b"<b>" not in anonymous(site, "/w/list/")[1]
    site.share("w", read=".r:*")
    assert anonymous(site, "/w/list/")[0] == 401


def test_error_pages(site: Swift) -> None:
    site.post("/w", x_container_meta_web_index="index.html", x_container_meta_web_error="error.html")
    assert anonymous(site, "/w/none") == (404, b"<404>")
    assert anonymous(site, "/w/none", range="bytes=0-1", if_none_match="*") == (404, b"<404>")
    site.share("w", read=".r:example.com")
    assert anonymous(site, "/w/none")[0] == 401


def test_folders_made_by_others(site: Swift) -> None:
    site.post("/w", x_container_meta_web_index="index.html", x_container_meta_web_directory_type="text/directory")
    site.put("/w/sub", content_type="text/directory")
    assert site.get("/w/sub", token="").status == 301
    assert anonymous(site, "/w/sub/") == (200, b"<sub>")


def test_pages_of_other_origins(swift: Swift) -> None:
    swift.put("/c", x_container_meta_access_control_allow_origin="http://a.com http://b.com",
              x_container_meta_access_control_expose_headers="X-More", x_container_meta_access_control_max_age="9")  # fmt: skip
    swift.put("/c/o", b"x", x_object_meta_color="blue")
    got = swift.get("/c/o", origin="http://a.com")
    assert got.headers["access-control-allow-origin"] == "http://a.com"
    exposed = got.headers["access-control-expose-headers"].split(", ")
    assert {"etag", "x-timestamp", "x-trans-id", "x-object-meta-color", "x-more"} <= set(exposed)
    assert "access-control-allow-origin" not in swift.get("/c/o", origin="http://evil.com").headers
    assert "access-control-allow-origin" not in swift.get("/c/o").headers
    missing = swift.get("/c/none", origin="http://a.com")
    assert (missing.status, missing.headers["access-control-allow-origin"]) == (404, "http://a.com")
    refused = swift.get("/c/o", token="", origin="http://a.com")
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "http://a.com")


def test_questions_before_requests(swift: Swift) -> None:
    swift.put("/c", x_container_meta_access_control_allow_origin="http://a.com", x_container_meta_access_control_max_age="9")
    asked = {"access_control_request_method": "PUT", "access_control_request_headers": "X-Auth-Token, X-Y"}
    answer = swift.ask("OPTIONS", "/c/o", token="", origin="http://a.com", **asked)
    told = answer.headers
    assert (answer.status, told["access-control-allow-origin"], told["access-control-max-age"]) == (200, "http://a.com", "9")
    assert "PUT" in told["access-control-allow-methods"]
    assert told["access-control-allow-headers"] == "x-auth-token, x-y"
    assert swift.ask("OPTIONS", "/c/o", token="", origin="http://evil.com", **asked).status == 401
    assert swift.ask("OPTIONS", "/none/o", token="", origin="http://a.com", **asked).status == 401
    assert swift.ask("OPTIONS", "/c/o", token="", origin="http://a.com").status == 401
    wrong = {**asked, "access_control_request_method": "BREW"}
    assert swift.ask("OPTIONS", "/c/o", token="", origin="http://a.com", **wrong).status == 401
    plain = swift.ask("OPTIONS", "/c/o", token="")
    assert (plain.status, "COPY" in plain.headers["allow"]) == (200, True)
    swift.post("/c", x_container_meta_access_control_allow_origin="*")
    assert swift.get("/c", origin="http://any.com").headers["access-control-allow-origin"] == "*"
