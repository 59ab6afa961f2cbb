# ruff: noqa: E501 - tables of cases read better in long lines
"""Objects: writing, reading, conditions, ranges, metadata, copies, deletion."""

import hashlib

import pytest

from tests.api.object_store.swift import OTHER, Swift

DATA = b"0123456789"
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture(autouse=True)
def container(swift: Swift) -> None:
    swift.put("/c")


def test_what_is_put_is_got(swift: Swift) -> None:
    made = swift.put("/c/a/b c", DATA, content_type="text/plain", x_object_meta_Color="blue")
    assert made.headers["etag"] == MD5
    assert made.headers["last-modified"].endswith("GMT")
    assert made.headers["x-trans-id"].startswith("tx")
    assert made.headers["x-trans-id"] == made.headers["x-openstack-request-id"]
    got = swift.get("/c/a/b c")
    assert (got.status, got.body) == (200, DATA)
    assert got.headers["content-type"] == "text/plain"
    assert got.headers["content-length"] == "10"
    assert got.headers["etag"] == MD5
    assert got.headers["accept-ranges"] == "bytes"
    assert got.headers["x-object-meta-color"] == "blue"
    seconds, dot, part = got.headers["x-timestamp"].partition(".")
    assert len(seconds) == 10 and dot and len(part) == 5
    head = swift.head("/c/a/b c")
    assert (head.status, head.body) == (200, b"")
    assert {k: v for k, v in head.headers.items() if "id" not in k} == {
        k: v for k, v in got.headers.items() if "id" not in k
    }


def test_an_empty_object_and_a_missing_one(swift: Swift) -> None:
    swift.put("/c/empty")
    got = swift.get("/c/empty")
    assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "0")
    for method in ("GET", "HEAD", "POST", "DELETE"):
        assert swift.ask(method, "/c/none").status == 404
        assert swift.ask(method, "/none/none").status == 404
    assert swift.ask("PUT", "/none/x", body=b"x").status == 404
    assert b"<h1>Not Found</h1>" in swift.get("/c/none").body


def test_replaced_and_deleted(swift: Swift) -> None:
    swift.put("/c/o", b"old")
    swift.put("/c/o", b"newer")
    assert swift.get("/c/o").body == b"newer"
    gone = swift.delete("/c/o")
    assert (gone.status, gone.body) == (204, b"")
    assert swift.delete("/c/o").status == 404
    assert swift.get("/c/o").status == 404


def test_names_are_as_they_were_sent(swift: Swift) -> None:
    names = ["/", "//", "a//b", "a/", "./x", "../x", "../../etc/passwd", "ü/→", "a%2Fb", "a?b", "a+b", "a\nb", " "]
    for name in names:
        path = f"/c/{name}".replace("%", "%").partition("?")[0]
        if "?" in name:
            continue
        swift.put(path, name.encode())
    for name in names:
        if "?" not in name:
            assert swift.get(f"/c/{name}").body == name.encode(), name
    assert sorted(swift.names("/c"), key=str.encode) == swift.names("/c")
    assert set(swift.names("/c")) == {name for name in names if "?" not in name}


def test_a_question_mark_in_a_name(swift: Swift) -> None:
    path = "/object-store/v1/AUTH_project-1/c/a%3Fb"
    assert swift.cloud.put(path, token=swift.owner, body=b"x").status == 201
    assert swift.names("/c") == ["a?b"]


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({"ETag": "0" * 32}, 422, b"Unprocessable Entity"),
        ({"ETag": f'"{MD5.upper()}"'}, 201, b""),
        ({"X-Object-Meta-": "x"}, 400, b"Metadata name cannot be empty"),
        ({f"X-Object-Meta-{'n' * 129}": "x"}, 400, b"Metadata name too long"),
        ({"X-Object-Meta-N": "v" * 257}, 400, b"Metadata value longer than 256"),
        ({f"X-Object-Meta-{n}": "x" for n in range(91)}, 400, b"Too many metadata items; max 90"),
        ({f"X-Object-Meta-{n}": "v" * 256 for n in range(20)}, 400, b"Total metadata too large; max 4096"),
        ({"X-Object-Meta-N": "v" * 8193}, 400, b"Header value too long"),
        ({"X-Object-Meta-N": "\xff"}, 400, b"must be valid UTF-8"),
        ({"X-Delete-At": "x"}, 400, b"Non-integer X-Delete-At"),
        ({"X-Delete-At": "1"}, 400, b"X-Delete-At in past"),
        ({"X-Delete-After": "x"}, 400, b"Non-integer X-Delete-After"),
        ({"X-Delete-After": "-1"}, 400, b"X-Delete-After in past"),
        ({"X-Object-Manifest": "c"}, 400, b"container/prefix"),
        ({"X-Object-Manifest": "c/p?q"}, 400, b"container/prefix"),
        ({"X-Static-Large-Object": "true"}, 400, b"reserved header"),
        ({"If-None-Match": "x"}, 400, b"If-None-Match only supports *"),
        ({"X-Copy-From": "c"}, 412, b"X-Copy-From header must be of the form"),
        ({"X-Symlink-Target": "/c/o"}, 412, b"X-Symlink-Target header must be of the form"),
    ],
)  # fmt: skip
def test_bad_headers_of_an_upload(swift: Swift, headers: dict[str, str], status: int, text: bytes) -> None:
    body = None if "X-Copy-From" in headers or "X-Symlink-Target" in headers else DATA
    answer = swift.ask("PUT", "/c/o", body=body, headers=headers)
    assert (answer.status, text in answer.body) == (status, True), answer.body
    if status != 201:
        assert swift.get("/c/o").status == 404


def test_names_that_are_too_long_or_no_text(swift: Swift) -> None:
    answer = swift.ask("PUT", f"/c/{'n' * 1025}", body=b"x")
    assert (answer.status, answer.body) == (400, b"Object name length of 1025 longer than 1024")
    swift.put(f"/c/{'n' * 1024}", b"x")
    for path in ("/c/%ff", "/c/a%00b", "/%fe/o", "/c/%ed%a0%80"):
        for method in ("PUT", "GET", "POST", "DELETE", "HEAD"):
            answer = swift.cloud.request(
                method, f"/object-store/v1/AUTH_project-1{path}", token=swift.owner, headers={"Content-Length": "0"}
            )
            assert answer.status == 412, (method, path)
            assert method == "HEAD" or answer.body == b"Invalid UTF8 or contains NULL"


def test_lengths(swift: Swift) -> None:
    path = "/object-store/v1/AUTH_project-1/c/o"
    missing = swift.cloud.request("PUT", path, token=swift.owner)
    assert (missing.status, missing.body) == (411, b"Missing Content-Length header.")
    huge = swift.ask("PUT", "/c/o", body=b"x", content_length=str((5 << 30) + 1))
    assert (huge.status, huge.body) == (413, b"Your request is too large.")
    short = swift.ask("PUT", "/c/o", body=b"x", content_length="5")
    assert short.status == 499
    long_short = swift.ask("PUT", "/c/o", body=b"x" * 100_000, content_length="200000")
    assert long_short.status == 499
    assert swift.get("/c/o").status == 404


def test_large_and_chunked_bodies(swift: Swift) -> None:
    body = bytes(range(256)) * 12_000
    assert swift.put("/c/big", body).headers["etag"] == hashlib.md5(body).hexdigest()
    assert swift.get("/c/big").body == body
    chunked = swift.ask("PUT", "/c/chunked", body=body, transfer_encoding="chunked")
    assert chunked.status == 201
    assert swift.get("/c/chunked").body == body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": MD5}, 200), ({"If-Match": f'"{MD5}"'}, 200), ({"If-Match": "*"}, 200), ({"If-Match": "x"}, 412),
        ({"If-Match": f"x, {MD5}"}, 200),
        ({"If-None-Match": MD5}, 304), ({"If-None-Match": "*"}, 304), ({"If-None-Match": "x"}, 200),
        ({"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200), ({"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304),
        ({"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 412), ({"If-Unmodified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "rubbish"}, 200),
    ],
)  # fmt: skip
def test_conditions(swift: Swift, headers: dict[str, str], status: int) -> None:
    swift.put("/c/o", DATA)
    for method in ("GET", "HEAD"):
        answer = swift.ask(method, "/c/o", headers=headers)
        assert answer.status == status
        assert answer.headers["etag"] == MD5
        assert answer.body == (DATA if status == 200 and method == "GET" else answer.body)


def test_put_only_where_nothing_is(swift: Swift) -> None:
    assert swift.put("/c/o", b"1", if_none_match="*")
    assert swift.ask("PUT", "/c/o", body=b"2", if_none_match="*").status == 412
    assert swift.get("/c/o").body == b"1"


@pytest.mark.parametrize(
    ("ranges", "status", "body", "content_range"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"), ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"), ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, DATA, "bytes 0-9/10"), ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, None, "bytes */10"), ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=3-2", 200, DATA, None), ("bytes=x", 200, DATA, None), ("lines=1-2", 200, DATA, None),
        ("bytes=", 200, DATA, None), ("bytes=0-1,99-", 206, b"01", "bytes 0-1/10"),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(60)), 416, None, "bytes */10"),
        ("bytes=0-9,0-9,0-9,0-9", 416, None, "bytes */10"),
    ],
)  # fmt: skip
def test_ranges(swift: Swift, ranges: str, status: int, body: bytes | None, content_range: str | None) -> None:
    swift.put("/c/o", DATA)
    answer = swift.get("/c/o", range=ranges)
    assert answer.status == status
    assert answer.headers.get("content-range") == content_range
    if body is not None:
        assert answer.body == body
        assert answer.headers["content-length"] == str(len(body))


def test_several_ranges_are_parts_of_one_body(swift: Swift) -> None:
    swift.put("/c/o", DATA, content_type="x/y")
    answer = swift.get("/c/o", range="bytes=0-1,-2")
    assert answer.status == 206
    kind, _semicolon, boundary = answer.headers["content-type"].partition(";boundary=")
    assert kind == "multipart/byteranges"
    mark = f"--{boundary}".encode()
    assert answer.body == (
        mark + b"\r\nContent-Type: x/y\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n"
        + mark + b"\r\nContent-Type: x/y\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n" + mark + b"--"
    )  # fmt: skip
    assert answer.headers["content-length"] == str(len(answer.body))


def test_a_range_of_what_it_was(swift: Swift) -> None:
    swift.put("/c/o", DATA)
    assert swift.get("/c/o", range="bytes=0-1", if_range=f'"{MD5}"').status == 206
    assert swift.get("/c/o", range="bytes=0-1", if_range='"other"').status == 200


def test_post_replaces_metadata(swift: Swift) -> None:
    swift.put("/c/o", DATA, content_type="a/b", x_object_meta_one="1", content_encoding="gzip", x_delete_after="1000")
    answer = swift.post("/c/o", x_object_meta_two="2", content_disposition="inline")
    assert answer.status == 202
    assert b"accepted for processing" in answer.body
    head = swift.head("/c/o").headers
    assert head["x-object-meta-two"] == "2"
    assert head["content-disposition"] == "inline"
    assert "x-object-meta-one" not in head and "content-encoding" not in head and "x-delete-at" not in head
    assert (head["content-type"], head["etag"]) == ("a/b", MD5)
    swift.post("/c/o", content_type="c/d", x_object_meta_empty="")
    head = swift.head("/c/o").headers
    assert head["content-type"] == "c/d"
    assert "x-object-meta-empty" not in head


def test_metadata_may_be_any_text(swift: Swift) -> None:
    swift.put("/c/o", DATA, headers={"X-Object-Meta-N": "grün".encode().decode("latin-1")})
    assert swift.head("/c/o").headers["x-object-meta-n"].encode("latin-1").decode() == "grün"


def test_the_type_is_guessed_from_the_name(swift: Swift) -> None:
    swift.put("/c/a.png", b"x")
    swift.put("/c/b.txt", b"x", content_type="x/y", x_detect_content_type="true")
    swift.put("/c/c", b"x")
    kinds = [swift.head(f"/c/{name}").headers["content-type"] for name in ("a.png", "b.txt", "c")]
    assert kinds == ["image/png", "text/plain", "application/octet-stream"]


def test_expiry(swift: Swift) -> None:
    at = swift.cloud.clock.now_us() // 1_000_000 + 100
    swift.put("/c/o", DATA, x_delete_at=str(at))
    swift.put("/c/p", DATA, x_delete_after="200")
    assert swift.head("/c/o").headers["x-delete-at"] == str(at)
    assert swift.head("/c/p").headers["x-delete-at"] == str(at + 100)
    swift.cloud.clock.advance(150)
    assert swift.get("/c/o").status == 404
    assert swift.names("/c") == ["p"]
    assert swift.post("/c/o", x_delete_after="100").status == 404
    swift.post("/c/p", x_object_meta_a="b")  # a POST without an expiry takes it away
    swift.cloud.clock.advance(100_000)
    assert swift.get("/c/p").body == DATA


def test_copies(swift: Swift) -> None:
    swift.put("/c/o", DATA, content_type="a/b", x_object_meta_one="1", content_encoding="gzip")
    made = swift.ask("COPY", "/c/o", destination="c/p", x_object_meta_two="2")
    assert made.status == 201
    assert made.headers["x-copied-from"] == "c/o"
    assert made.headers["x-copied-from-account"] == "AUTH_project-1"
    assert made.headers["x-copied-from-last-modified"].endswith("GMT")
    assert made.headers["etag"] == MD5
    got = swift.get("/c/p")
    assert got.body == DATA
    assert (got.headers["x-object-meta-one"], got.headers["x-object-meta-two"]) == ("1", "2")
    assert (got.headers["content-type"], got.headers["content-encoding"]) == ("a/b", "gzip")
    swift.put("/c/q", x_copy_from="/c/o", x_fresh_metadata="true", content_type="c/d")
    head = swift.head("/c/q").headers
    assert "x-object-meta-one" not in head and "content-encoding" not in head
    assert head["content-type"] == "c/d"
    swift.put("/c/r", x_copy_from="c/o", range="bytes=2-3")
    assert swift.get("/c/r").body == b"23"
    assert swift.ask("COPY", "/c/o", destination="c/o", x_object_meta_three="3").status == 201
    assert swift.head("/c/o").headers["x-object-meta-three"] == "3"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 412), ({"Destination": "c"}, 412), ({"Destination": "/"}, 412), ({"Destination": "none/p"}, 404),
        ({"Destination": "c/p", "Destination-Account": "a/b"}, 412), ({"Destination": "c/p", "ETag": "0" * 32}, 422),
        ({"Destination": "c/p", "Destination-Account": "AUTH_project-2"}, 403), ({"Destination": "c/" + "n" * 1025}, 400),
        ({"Destination": "c/p%00"}, 412),
    ],
)  # fmt: skip
def test_copies_to_nowhere(swift: Swift, headers: dict[str, str], status: int) -> None:
    swift.put("/c/o", DATA)
    assert swift.ask("COPY", "/c/o", headers=headers).status == status
    assert swift.names("/c") == ["o"]


def test_a_copy_takes_no_body_and_needs_a_source(swift: Swift) -> None:
    assert swift.ask("PUT", "/c/p", body=b"x", x_copy_from="c/o").status == 400
    assert swift.ask("PUT", "/c/p", x_copy_from="c/o").status == 404
    assert swift.ask("COPY", "/c/o", destination="c/p").status == 404


def test_copies_between_accounts(swift: Swift) -> None:
    swift.put("/c/o", DATA)
    assert swift.ask("PUT", "/d", account=OTHER, token=swift.other).status == 201
    taken = {"account": OTHER, "token": swift.other, "x_copy_from": "c/o", "x_copy_from_account": "AUTH_project-1"}
    assert swift.ask("PUT", "/d/o", **taken).status == 403
    swift.share("c", read=f"{OTHER}:user-2")
    assert swift.ask("PUT", "/d/o", **taken).status == 201
    assert swift.get("/d/o", account=OTHER, token=swift.other).body == DATA
    to_other = {"destination": "d/p", "destination_account": f"AUTH_{OTHER}"}
    assert swift.ask("COPY", "/c/o", **to_other).status == 403
    assert swift.ask("POST", "/d", account=OTHER, token=swift.other, x_container_write="project-1:*").status == 204
    assert swift.ask("COPY", "/c/o", **to_other).status == 201
