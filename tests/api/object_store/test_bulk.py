# ruff: noqa: E501 - tables of cases read better in long lines
"""Many objects in one request."""

import bz2
import gzip
import io
import tarfile
from collections.abc import Callable

import pytest

from node.testing import Answer
from tests.api.object_store.swift import OTHER, Swift


def archive(files: dict[str, bytes], **pax: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.pax_headers = pax
            tar.addfile(info, io.BytesIO(data))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    return target.getvalue()


def extract(swift: Swift, path: str, body: bytes, form: str = "tar", **more: str) -> Answer:
    return swift.ask("PUT", f"{path}?extract-archive={form}", body=body, accept="application/json", **more)


def delete(swift: Swift, names: bytes, **more: str) -> Answer:
    more.setdefault("accept", "application/json")
    return swift.ask("POST", "?bulk-delete", body=names, content_type="text/plain", **more)


PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [("tar", bytes), ("tar.gz", gzip.compress), ("tar.bz2", bz2.compress)]


@pytest.mark.parametrize(("form", "pack"), PACKED)
def test_archives(swift: Swift, form: str, pack: Callable[[bytes], bytes]) -> None:
    body = pack(archive({"c/a": b"1", "./c/b/d": b"22" * 50_000, "e/f": b"", "alone": b"x"}))
    answer = extract(swift, "", body, form, x_object_meta_a="b")
    assert answer.status == 200
    assert answer.json == {"Number Files Created": 3, "Response Body": "", "Response Status": "201 Created", "Errors": []}
    assert swift.names("") == ["c", "e"]
    assert swift.get("/c/b/d").body == b"22" * 50_000
    assert swift.head("/c/a").headers["x-object-meta-a"] == "b"


def test_archives_into_a_container(swift: Swift) -> None:
    swift.put("/c")
    assert extract(swift, "/c", archive({"a": b"1"})).json["Number Files Created"] == 1
    pax = {"SCHILY.xattr.user.mime_type": "x/y", "SCHILY.xattr.user.meta.Color": "grün"}
    assert extract(swift, "/c/sub", archive({"a": b"1"}, **pax)).json["Number Files Created"] == 1
    assert swift.names("/c") == ["a", "sub/a"]
    told = swift.head("/c/sub/a").headers
    assert (told["content-type"], told["x-object-meta-color"].encode("latin-1").decode()) == ("x/y", "grün")


def test_bad_archives(swift: Swift) -> None:
    assert extract(swift, "", b"x", "zip").status == 400
    for form, body in (("tar", b"rubbish" * 200), ("tar.gz", b"rubbish"), ("tar.bz2", b"rubbish"), ("tar", b"")):
        answer = extract(swift, "", body, form, content_length=str(len(body)))
        assert answer.json["Response Status"] == "400 Bad Request", (form, answer.json)
    whole = gzip.compress(archive({"c/a": b"1" * 100_000}), 0)
    assert extract(swift, "", whole[:50_000], "tar.gz").json["Response Status"] == "400 Bad Request"
    answer = extract(swift, "", archive({"c/" + "n" * 1025: b"x", "c/ok": b"x"}))
    assert answer.json["Number Files Created"] == 1
    assert answer.json["Errors"][0][1] == "400 Bad Request"
    assert extract(swift, "", archive({"only": b"x"})).json["Response Body"] == "Invalid Tar File: No Valid Files"


def test_names_in_archives_lead_nowhere_else(swift: Swift) -> None:
    answer = extract(swift, "", archive({"c/../../AUTH_project-2/x/y": b"x", "../../etc/passwd": b"y", "/c/z": b"z"}))
    assert answer.json["Number Files Created"] == 3
    assert swift.names("/c") == ["../../AUTH_project-2/x/y", "z"]
    assert swift.names("/..") == ["../etc/passwd"]
    assert swift.names("", account=OTHER, token=swift.other) == []


def test_archives_are_for_those_who_may_write(swift: Swift) -> None:
    assert extract(swift, "", archive({"c/a": b"1"}), token="").json["Response Status"] == "401 Unauthorized"
    answer = extract(swift, "", archive({"c/a": b"1"}), token=swift.other)
    assert (answer.json["Number Files Created"], answer.json["Errors"]) == (0, [["c/a", "403 Forbidden"]])
    swift.put("/c", x_container_write=f"{OTHER}:*")
    assert extract(swift, "", archive({"c/a": b"1"}), token=swift.other).json["Number Files Created"] == 1


def test_deleting_many(swift: Swift) -> None:
    for name in ("c", "d"):
        swift.put(f"/{name}")
        for number in range(3):
            swift.put(f"/{name}/{number} ü", b"x")
    answer = delete(swift, b"c\n/c/0%20%C3%BC\nc/1%20%C3%BC\n\n/c/2%20%C3%BC\n/c/none\n")
    assert answer.status == 200
    assert answer.json == {
        "Number Deleted": 4, "Number Not Found": 1, "Response Body": "", "Response Status": "200 OK", "Errors": [],
    }  # fmt: skip
    answer = delete(swift, b"/d\n")
    assert (answer.json["Response Status"], answer.json["Errors"]) == ("400 Bad Request", [["/d", "409 Conflict"]])
    text = delete(swift, b"/d/0%20%C3%BC", accept="text/plain").body.decode()
    assert text.split("\n")[:4] == ["Number Deleted: 1", "Number Not Found: 0", "Response Body: ", "Response Status: 200 OK"]
    xml = delete(swift, b"/d", accept="application/xml").body.decode()
    assert "<number_deleted>0</number_deleted>" in xml
    assert "<object><name>/d</name><status>409 Conflict</status></object>" in xml


def test_bad_lists_of_names(swift: Swift) -> None:
    swift.put("/c")
    assert delete(swift, b"", content_length="0").json["Response Body"] == "Invalid bulk delete."
    answer = delete(swift, b"/c/%ff\n/c/a%00b")
    assert [error[1] for error in answer.json["Errors"]] == ["412 Precondition Failed"] * 2
    assert delete(swift, b"x\n" * 10_001).json["Response Status"] == "413 Request Entity Too Large"
    assert delete(swift, b"x" * 10_000).json["Response Status"] == "400 Bad Request"
    assert swift.ask("POST", "?bulk-delete", body=b"c", content_type="a/b").status == 406
    assert delete(swift, b"c", accept="image/png").status == 406


def test_deleting_is_for_those_who_may(swift: Swift) -> None:
    swift.put("/c")
    swift.put("/c/o", b"x")
    answer = delete(swift, b"/c/o\n/c\n/none/x", token=swift.other)
    assert answer.json["Number Deleted"] == answer.json["Number Not Found"] == 0
    assert {error[1] for error in answer.json["Errors"]} == {"403 Forbidden"}
    assert delete(swift, b"/c/o", token="").json["Response Status"] == "401 Unauthorized"
    assert delete(swift, b"/../AUTH_project-1/c/o", token=swift.other).json["Number Deleted"] == 0
    assert swift.get("/c/o").status == 200
