# ruff: noqa: E501 - tables of cases read better in long lines
"""Listings of containers."""

import pytest

from tests.api.object_store.swift import Swift

NAMES = ("a", "b/1", "b/2", "b/c/3", "d", "d/", "d/4", "é", "語")


@pytest.fixture(autouse=True)
def objects(swift: Swift) -> None:
    swift.put("/c")
    for name in NAMES:
        swift.put(f"/c/{name}", b"x", content_type="a/b")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", list(NAMES)),
        ("limit=2", ["a", "b/1"]),
        ("limit=0", []),
        ("limit=x", list(NAMES)),
        ("limit=2&marker=b/1", ["b/2", "b/c/3"]),
        ("marker=b/1&end_marker=d", ["b/2", "b/c/3"]),
        ("prefix=b/", ["b/1", "b/2", "b/c/3"]),
        ("prefix=nothing", []),
        ("delimiter=/", ["a", "b/", "d", "d/", "é", "語"]),
        ("delimiter=/&prefix=b/", ["b/1", "b/2", "b/c/"]),
        ("delimiter=/&prefix=b", ["b/"]),
        ("delimiter=/&marker=a", ["b/", "d", "d/", "é", "語"]),
        ("delimiter=/&marker=b/1", ["b/", "d", "d/", "é", "語"]),
        ("delimiter=/&marker=b/", ["d", "d/", "é", "語"]),
        ("delimiter=/&limit=2", ["a", "b/"]),
        ("delimiter=b", ["a", "b", "d", "d/", "d/4", "é", "語"]),
        ("path=", ["a", "d", "d/", "é", "語"]),
        ("path=b", ["b/1", "b/2"]),
        ("path=b/", ["b/1", "b/2"]),
        ("path=d", ["d/4"]),
        ("reverse=true", list(reversed(NAMES))),
        ("reverse=true&marker=d", ["b/c/3", "b/2", "b/1", "a"]),
        ("reverse=true&end_marker=d/4", ["語", "é"]),
        ("reverse=yes&delimiter=/", ["語", "é", "d/", "d", "b/", "a"]),
        ("reverse=yes&delimiter=/&marker=b/2", ["b/", "a"]),
        ("prefix=%C3%A9", ["é"]),
        ("marker=%C3%A9", ["語"]),
    ],
)
def test_what_is_listed(swift: Swift, query: str, names: list[str]) -> None:
    assert swift.names(f"/c?{query}") == names
    plain = swift.get(f"/c?{query}", accept="text/plain")
    assert plain.status == (200 if names else 204)
    assert plain.body.decode() == "".join(f"{name}\n" for name in names)


def test_pages_join_to_the_whole(swift: Swift) -> None:
    for delimiter in ("", "&delimiter=/"):
        whole, found, marker = swift.names(f"/c?x=y{delimiter}"), [], ""
        while page := swift.names(f"/c?limit=2&marker={marker.encode().hex() and marker}{delimiter}"):
            found += page
            marker = page[-1]
        assert found == whole


def test_formats(swift: Swift) -> None:
    item = swift.get("/c?format=json&limit=1").json[0]
    assert set(item) == {"name", "bytes", "hash", "content_type", "last_modified"}
    assert (item["name"], item["bytes"], item["content_type"]) == ("a", 1, "a/b")
    assert len(item["last_modified"]) == len("2026-01-01T00:00:00.000000")
    xml = swift.get("/c?format=xml&delimiter=/&limit=2")
    assert xml.headers["content-type"] == "application/xml; charset=utf-8"
    text = xml.body.decode()
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<container name="c"><object><name>a</name><hash>')
    assert '<subdir name="b/"><name>b/</name></subdir></container>' in text
    kinds = {
        "application/json": "application/json", "text/xml": "text/xml", "application/xml;q=0.5, application/json": "application/json",
        "*/*": "text/plain", "application/*": "application/json", "rubbish": "text/plain", "": "text/plain",
    }  # fmt: skip
    for accept, kind in kinds.items():
        answer = swift.get("/c", accept=accept) if accept else swift.get("/c")
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8", accept
        assert answer.headers["vary"] == "Accept"
    assert swift.get("/c", accept="image/png").status == 406
    assert swift.get("/c?format=xml", accept="image/png").status == 200


def test_too_much_and_what_is_no_text(swift: Swift) -> None:
    answer = swift.get("/c?limit=10001")
    assert (answer.status, answer.body) == (412, b"Maximum limit is 10000")
    for name in ("marker", "end_marker", "prefix", "delimiter"):
        assert swift.get(f"/c?{name}=%ff").status in (400, 412)


def test_names_that_xml_must_quote(swift: Swift) -> None:
    swift.put("/q&<d>")
    swift.put("/q&<d>/<a>&\"'", b"x")
    text = swift.get("/q&<d>?format=xml").body.decode()
    assert '<container name="q&amp;&lt;d&gt;"><object><name>&lt;a&gt;&amp;"\'</name>' in text
