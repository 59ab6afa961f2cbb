# ruff: noqa: E501 - tables of cases read better in long lines
"""Dynamic and static large objects."""

import base64
import hashlib
import json
from typing import Any

import pytest

from node.testing import Answer
from tests.api.object_store.swift import OTHER, Swift


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


PARTS = {"s/1": b"abc", "s/2": b"defgh", "s/3": b"ij"}
WHOLE = b"abcdefghij"


@pytest.fixture(autouse=True)
def segments(swift: Swift) -> None:
    swift.put("/c")
    swift.put("/seg")
    for name, data in PARTS.items():
        swift.put(f"/seg/{name}", data)


def manifest(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"path": f"/seg/{name}", **more} for name in names or PARTS]


def make(swift: Swift, path: str, segments: object, **headers: str) -> Answer:
    body = segments if isinstance(segments, bytes) else json.dumps(segments).encode()
    return swift.ask("PUT", f"{path}?multipart-manifest=put", body=body, headers=headers)


def test_dynamic(swift: Swift) -> None:
    swift.put("/c/big", x_object_manifest="seg/s/", content_type="a/b")
    got = swift.get("/c/big")
    assert (got.body, got.headers["content-length"]) == (WHOLE, "10")
    assert got.headers["x-object-manifest"] == "seg/s/"
    etag = md5("".join(md5(data) for data in PARTS.values()).encode())
    assert got.headers["etag"] == f'"{etag}"'
    assert swift.head("/c/big").headers["content-length"] == "10"
    assert swift.get("/c/big", range="bytes=2-5").body == b"cdef"
    assert swift.get("/c/big", range="bytes=-3").body == b"hij"
    assert swift.get("/c/big", range="bytes=0-0,9-9").body.count(b"Content-Range") == 2
    assert swift.get("/c/big", if_none_match=etag).status == 304
    assert swift.get("/c/big?multipart-manifest=get").body == b""
    swift.put("/seg/s/4", b"!")
    assert swift.get("/c/big").body == WHOLE + b"!"
    assert swift.ask("COPY", "/c/big", destination="c/flat").status == 201
    swift.delete("/seg/s/1")
    assert swift.get("/c/flat").body == WHOLE + b"!"
    assert "x-object-manifest" not in swift.head("/c/flat").headers
    swift.ask("COPY", "/c/big?multipart-manifest=get", destination="c/again")
    assert swift.head("/c/again").headers["x-object-manifest"] == "seg/s/"
    swift.post("/c/again", x_object_meta_a="b")
    assert swift.get("/c/again").body == b""


def test_dynamic_with_a_name_that_was_quoted(swift: Swift) -> None:
    swift.put("/seg/ü x/1", b"A")
    swift.put("/c/big", x_object_manifest="seg/%C3%BC%20x/")
    assert swift.get("/c/big").body == b"A"
    assert swift.head("/c/big").headers["x-object-manifest"] == "seg/%C3%BC%20x/"


def test_dynamic_of_what_others_have(swift: Swift) -> None:
    swift.ask("PUT", "/seg", account=OTHER, token=swift.other)
    swift.ask("PUT", "/seg/s/1", account=OTHER, token=swift.other, body=b"theirs")
    swift.put("/c/big", x_object_manifest="seg/s/")
    swift.share("c", read=".r:*")
    assert swift.get("/c/big", token="").status == 401
    swift.share("seg", read=".r:*,.rlistings")
    assert swift.get("/c/big", token="").body == WHOLE


def test_static(swift: Swift) -> None:
    made = make(swift, "/c/big", manifest(), **{"Content-Type": "a/b", "X-Object-Meta-A": "b"})
    assert made.status == 201, made.body
    etag = md5("".join(md5(data) for data in PARTS.values()).encode())
    assert made.headers["etag"] == f'"{etag}"'
    got = swift.get("/c/big")
    assert (got.status, got.body) == (200, WHOLE)
    told = got.headers
    assert (told["content-type"], told["content-length"], told["etag"]) == ("a/b", "10", f'"{etag}"')
    assert (told["x-static-large-object"], told["x-object-meta-a"]) == ("True", "b")
    head = swift.head("/c/big").headers
    assert (head["content-length"], head["etag"]) == ("10", f'"{etag}"')
    assert swift.get("/c/big", range="bytes=2-5").body == b"cdef"
    assert swift.get("/c/big", range="bytes=2-3,8-").body.count(b"Content-Range") == 2
    assert swift.get("/c/big", if_match=f'"{etag}"').status == 200
    item = swift.get("/c?format=json").json[0]
    assert (item["bytes"], item["slo_etag"]) == (10, f'"{etag}"')
    kept = swift.get("/c/big?multipart-manifest=get")
    assert kept.headers["content-type"] == "application/json; charset=utf-8"
    assert kept.headers["etag"] == md5(kept.body) == item["hash"]
    assert [(s["name"], s["bytes"], s["hash"]) for s in kept.json] == [
        (f"/seg/{name}", len(data), md5(data)) for name, data in PARTS.items()
    ]
    raw = swift.get("/c/big?multipart-manifest=get&format=raw").json
    assert make(swift, "/c/again", raw).headers["etag"] == f'"{etag}"'


def test_static_of_ranges_data_and_large_objects(swift: Swift) -> None:
    inner = make(swift, "/seg/inner", manifest())
    parts = [
        {"data": base64.b64encode(b"<").decode()},
        {"path": "seg/inner", "range": "2-5", "etag": inner.headers["etag"].strip('"'), "size_bytes": 10},
        {"path": "/seg/s/2", "range": "-2"},
        {"path": "/seg/s/1", "range": "0-2"},
        {"data": base64.b64encode(b">").decode()},
    ]
    made = make(swift, "/c/big", parts)
    assert made.status == 201, made.body
    whole = b"<cdefghabc>"
    assert swift.get("/c/big").body == whole
    for first in range(len(whole)):
        for last in range(first, len(whole)):
            got = swift.get("/c/big", range=f"bytes={first}-{last}")
            assert got.body == whole[first : last + 1]
    kept = swift.get("/c/big?multipart-manifest=get").json
    assert [s.get("range") for s in kept] == [None, "2-5", "3-4", None, None]
    assert kept[1]["sub_slo"] is True


def test_a_changed_or_missing_segment_is_noticed(swift: Swift) -> None:
    make(swift, "/c/big", manifest())
    swift.put("/seg/s/1", b"xyz")
    assert swift.get("/c/big").status == 409
    assert swift.get("/c/big", range="bytes=3-4").body == b"de"
    assert swift.head("/c/big").status == 200
    swift.delete("/seg/s/1")
    assert swift.get("/c/big").status == 409


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", b"Manifest must be valid JSON."), (b"{", b"Manifest must be valid JSON."), (b"{}", b"Manifest must be a list."),
        (b"\xff", b"Manifest must be valid JSON."), (b"[" * 99_999, b"Manifest must be valid JSON."),
        ([1], b"Index 0: not a JSON object"), ([{}], b"Index 0: expected keys to include one of 'path' or 'data'"),
        (manifest(extra=1), b'Index 2: extraneous keys "extra"'), ([{"path": 1}], b'"path" must be a string'),
        ([{"path": "/seg"}], b"path does not refer to an object"), ([{"path": "/c/big"}], b"must not include itself"),
        (manifest(etag=1), b'"etag" must be a string'), (manifest(size_bytes="x"), b"invalid size_bytes"),
        (manifest(size_bytes=0), b"too small"), (manifest(range="x"), b"invalid range"),
        (manifest(range="0-1,2-3"), b"multiple ranges"), (manifest(size_bytes=3, range="9-"), b"unsatisfiable range"),
        ([{"data": "!"}], b"valid base64"), ([{"data": ""}], b"too small"), ([{"data": "YQ=="}], b"at least one object-backed"),
        (manifest(etag="0" * 32), b"/seg/s/1, Etag Mismatch"), (manifest(size_bytes=99), b"Size Mismatch"),
        (manifest("s/none"), b"/seg/s/none, 404 Not Found"), (manifest("s/3", range="5-"), b"Unsatisfiable Range"),
        ([{"path": "/none/x"}], b"/none/x, 404 Not Found"),
    ],
)  # fmt: skip
def test_malformed_manifests(swift: Swift, body: object, text: bytes) -> None:
    answer = make(swift, "/c/big", body)
    assert answer.status == 400
    assert text in answer.body, answer.body
    assert swift.get("/c/big").status == 404


def test_what_is_wrong_with_a_manifest_in_other_formats(swift: Swift) -> None:
    wrong = manifest("s/none")
    answer = make(swift, "/c/big", wrong, Accept="application/json")
    assert answer.json == {"Errors": [["/seg/s/none", "404 Not Found"]]}
    answer = make(swift, "/c/big", wrong, Accept="application/xml")
    assert b"<name>/seg/s/none</name><status>404 Not Found</status>" in answer.body


def test_manifests_that_are_too_long_or_not_what_was_said(swift: Swift) -> None:
    assert make(swift, "/c/big", [{"path": "/seg/s/1"}] * 1001).status == 413
    assert make(swift, "/c/big", b" " * ((8 << 20) + 1)).status == 413
    assert make(swift, "/c/big", manifest(), ETag="0" * 32).status == 422
    assert make(swift, "/c/big", manifest(), **{"X-Copy-From": "c/o"}).status == 405


def test_segments_of_others_cannot_be_used(swift: Swift) -> None:
    # The path of a segment is below the manifest's own account: no spelling of it leads out.
    swift.ask("PUT", "/x", account=OTHER, token=swift.other)
    swift.ask("PUT", "/x/secret", account=OTHER, token=swift.other, body=b"secret")
    for path in ("/x/secret", "../AUTH_project-2/x/secret", "/../AUTH_project-2/x/secret", "//AUTH_project-2/x/secret"):
        answer = make(swift, "/c/big", [{"path": path}])
        assert (answer.status == 400 and b"404 Not Found" in answer.body) or b"does not refer" in answer.body
    # A writer who may not read the segments learns nothing of them.
    swift.share("c", write=f"{OTHER}:*", read=f"{OTHER}:*")
    body = json.dumps(manifest()).encode()
    answer = swift.ask("PUT", "/c/evil?multipart-manifest=put", body=body, token=swift.other)
    assert answer.status == 400 and b"403 Forbidden" in answer.body
    missing = json.dumps([{"path": "/nowhere/x"}]).encode()
    answer = swift.ask("PUT", "/c/evil?multipart-manifest=put", body=missing, token=swift.other)
    assert b"403 Forbidden" in answer.body
    # One that an owner made does not open the segments either.
    make(swift, "/c/big", manifest())
    assert swift.get("/c/big", token=swift.other).status == 409
    swift.share("seg", read=f"{OTHER}:*")
    assert swift.get("/c/big", token=swift.other).body == WHOLE


def test_deleting_all_of_it(swift: Swift) -> None:
    make(swift, "/seg/inner", manifest("s/3"))
    make(swift, "/c/big", [*manifest("s/1", "s/2"), {"path": "/seg/inner"}])
    answer = swift.delete("/c/big?multipart-manifest=delete", accept="application/json")
    assert (answer.status, answer.json["Response Status"], answer.json["Number Deleted"]) == (200, "200 OK", 5)
    assert swift.names("/c") == swift.names("/seg") == []
    answer = swift.delete("/c/big?multipart-manifest=delete", accept="application/json")
    assert (answer.json["Number Not Found"], answer.json["Response Status"]) == (0, "404 Not Found")
    swift.put("/c/plain", b"x")
    answer = swift.delete("/c/plain?multipart-manifest=delete")
    assert b"400 Bad Request" in answer.body and b"Not an SLO manifest" in answer.body


def test_copies_of_static_ones(swift: Swift) -> None:
    make(swift, "/c/big", manifest(), **{"X-Object-Meta-A": "b"})
    assert swift.ask("COPY", "/c/big", destination="c/flat").status == 201
    flat = swift.head("/c/flat").headers
    assert (flat["content-length"], flat["etag"], flat["x-object-meta-a"]) == ("10", md5(WHOLE), "b")
    assert "x-static-large-object" not in flat
    made = swift.ask("COPY", "/c/big?multipart-manifest=get", destination="c/again")
    assert made.status == 201
    again = swift.get("/c/again")
    assert (again.body, again.headers["x-static-large-object"]) == (WHOLE, "True")
    swift.post("/c/again", x_object_meta_c="d")
    again = swift.get("/c/again")
    assert (again.body, again.headers["x-object-meta-c"]) == (WHOLE, "d")
    # to another account the manifest does not go along, as its segments are not there
    swift.ask("PUT", "/d", account=OTHER, token=swift.other, x_container_write="project-1:*")
    to = {"destination": "d/big", "destination_account": f"AUTH_{OTHER}"}
    assert swift.ask("COPY", "/c/big?multipart-manifest=get", **to).status == 400
    assert swift.ask("COPY", "/c/big", **to).status == 201


def test_large_objects_in_large_objects_in_large_objects(swift: Swift) -> None:
    name = "s/1"
    for depth in range(12):
        answer = make(swift, f"/seg/deep-{depth}", [{"path": f"/seg/{name}"}])
        if answer.status != 201:
            break
        name = f"deep-{depth}"
    assert swift.get("/seg/deep-8").body == b"abc"
    assert swift.get("/seg/deep-11").status in (404, 409)
