# ruff: noqa: E501 - tables of cases read better in long lines
"""Temporary URLs and forms."""

import base64
import hmac
import itertools

import pytest

from node.testing import Answer
from tests.api.object_store.swift import BASE, OTHER, Swift

KEY, KEY_2, OWN_KEY = "account key", "account key 2", "container key"


@pytest.fixture(autouse=True)
def things(swift: Swift) -> None:
    swift.put("/c", x_container_meta_temp_url_key=OWN_KEY)
    swift.put("/d")
    swift.post("", x_account_meta_temp_url_key=KEY, x_account_meta_temp_url_key_2=KEY_2)
    swift.put("/c/o", b"data", x_object_meta_secret="s", x_object_meta_public_a="p")
    swift.put("/d/o", b"other")


def until(swift: Swift, seconds: int = 60) -> int:
    return swift.cloud.clock.now_us() // 1_000_000 + seconds


def sign(
    swift: Swift, method: str, path: str, key: str = KEY, *, digest: str = "sha256", expires: int | None = None, front: str = "",
    root: str = "/v1",
) -> str:  # fmt: skip
    at = until(swift) if expires is None else expires
    prefix, path = ("prefix:", path[7:]) if path.startswith("prefix:") else ("", path)
    text = f"{front}{method}\n{at}\n{prefix}{root}/AUTH_project-1{path}"
    signature = hmac.new(key.encode(), text.encode(), digest).hexdigest()
    return f"temp_url_sig={signature}&temp_url_expires={at}"


def ask(swift: Swift, method: str, path: str, query: str, **more: object) -> Answer:
    return swift.ask(method, f"{path}?{query}", token="", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("key", [KEY, KEY_2, OWN_KEY])
@pytest.mark.parametrize("root", ["/v1", BASE])
def test_a_signature_opens_an_object(swift: Swift, digest: str, key: str, root: str) -> None:
    query = sign(swift, "GET", "/c/o", key, digest=digest, root=root)
    got = ask(swift, "GET", "/c/o", query)
    assert (got.status, got.body) == (200, b"data")
    assert got.headers["content-disposition"] == "attachment; filename=\"o\"; filename*=UTF-8''o"
    assert got.headers["expires"].endswith("GMT")
    assert got.headers["x-object-meta-public-a"] == "p"
    assert "x-object-meta-secret" not in got.headers
    assert ask(swift, "HEAD", "/c/o", query).status == 200
    assert ask(swift, "GET", "/c/o", query, range="bytes=1-2").body == b"at"


def test_it_opens_nothing_else(swift: Swift) -> None:
    query = sign(swift, "GET", "/c/o")
    for method, path in itertools.product(("GET", "PUT", "POST", "DELETE", "HEAD"), ("/c/o", "/c/p", "/d/o", "/c", "")):
        status = ask(swift, method, path, query).status
        assert (status == 200) == (path == "/c/o" and method in ("GET", "HEAD")), (method, path, status)
        assert status in (200, 401)
    assert swift.get(f"/c/o?{query}", account=OTHER, token="").status == 401


@pytest.mark.parametrize(
    "change",
    [
        ("temp_url_sig=", "temp_url_sig=0"), ("temp_url_expires=1", "temp_url_expires=2"), ("&temp_url_expires", "&x"),
        ("temp_url_sig", "x"), ("temp_url_sig=", "temp_url_sig=sha256:"), ("temp_url_sig=", "temp_url_sig=md5:"),
    ],
)  # fmt: skip
def test_forged_ones(swift: Swift, change: tuple[str, str]) -> None:
    query = sign(swift, "GET", "/c/o").replace(*change)
    answer = ask(swift, "GET", "/c/o", query)
    assert (answer.status, answer.body) == (401, b"401 Unauthorized: Temp URL invalid\n")


def test_late_ones_and_those_of_other_keys(swift: Swift) -> None:
    assert ask(swift, "GET", "/c/o", sign(swift, "GET", "/c/o", expires=until(swift, -1))).status == 401
    assert ask(swift, "GET", "/c/o", sign(swift, "GET", "/c/o", "other")).status == 401
    assert ask(swift, "GET", "/d/o", sign(swift, "GET", "/d/o", OWN_KEY)).status == 401
    query = sign(swift, "GET", "/c/o")
    swift.post("", x_remove_account_meta_temp_url_key="x")
    assert ask(swift, "GET", "/c/o", query).status == 401


def test_writing(swift: Swift) -> None:
    query = sign(swift, "PUT", "/c/new")
    assert ask(swift, "PUT", "/c/new", query, body=b"new").status == 201
    assert swift.get("/c/new").body == b"new"
    assert ask(swift, "HEAD", "/c/new", query).status == 200
    assert ask(swift, "GET", "/c/new", query).status == 401
    for header, value in (("X-Object-Manifest", "d/o"), ("X-Symlink-Target", "d/o")):
        assert ask(swift, "PUT", "/c/new", query, headers={header: value}).status == 400
    assert ask(swift, "DELETE", "/c/new", sign(swift, "DELETE", "/c/new")).status == 204


def test_a_container_s_key_does_not_reach_out_of_it(swift: Swift) -> None:
    query = sign(swift, "PUT", "/c/new", OWN_KEY)
    assert ask(swift, "PUT", "/c/new", query, x_copy_from="d/o").status == 401
    assert ask(swift, "PUT", "/c/new", sign(swift, "PUT", "/c/new"), x_copy_from="d/o").status == 201
    swift.put("/c/link", x_symlink_target="d/o")
    assert ask(swift, "GET", "/c/link", sign(swift, "GET", "/c/link", OWN_KEY)).status == 401
    assert ask(swift, "GET", "/c/link", sign(swift, "GET", "/c/link")).body == b"other"


def test_prefixes(swift: Swift) -> None:
    swift.put("/c/a/1", b"1")
    query = sign(swift, "GET", "prefix:/c/a/") + "&temp_url_prefix=a/"
    assert ask(swift, "GET", "/c/a/1", query).body == b"1"
    assert ask(swift, "GET", "/c/o", query).status == 401
    assert ask(swift, "GET", "/c/a/1", sign(swift, "GET", "prefix:/c/a/")).status == 401
    whole = sign(swift, "GET", "prefix:/c/") + "&temp_url_prefix="
    assert ask(swift, "GET", "/c/a/1", whole).body == b"1"


def test_addresses(swift: Swift) -> None:
    for ip_range, status in (("127.0.0.1", 200), ("127.0.0.0/8", 200), ("10.0.0.0/8", 401), ("rubbish", 401)):
        query = sign(swift, "GET", "/c/o", front=f"ip={ip_range}\n") + f"&temp_url_ip_range={ip_range}"
        assert ask(swift, "GET", "/c/o", query).status == status, ip_range
    query = sign(swift, "GET", "/c/o", front="ip=127.0.0.1\n")
    assert ask(swift, "GET", "/c/o", query).status == 401


def test_names_and_times(swift: Swift) -> None:
    query = sign(swift, "GET", "/c/o")
    kinds = {
        "&filename=a%20b.txt": "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt", "&inline": "inline",
        "&inline&filename=x": "inline; filename=\"x\"; filename*=UTF-8''x",
    }  # fmt: skip
    for more, shown in kinds.items():
        assert ask(swift, "GET", "/c/o", query + more).headers["content-disposition"] == shown
    swift.post("/c/o", content_disposition="attachment; filename=own")
    assert ask(swift, "GET", "/c/o", query).headers["content-disposition"] == "attachment; filename=own"
    at = until(swift)
    import time

    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    query = sign(swift, "GET", "/c/o", expires=at).replace(str(at), text)
    assert ask(swift, "GET", "/c/o", query).status == 200
    raw = hmac.new(KEY.encode(), f"GET\n{at}\n/v1/AUTH_project-1/c/o".encode(), "sha512").digest()
    coded = base64.urlsafe_b64encode(raw).decode()
    assert ask(swift, "GET", "/c/o", f"temp_url_sig=sha512:{coded}&temp_url_expires={at}").status == 200


FIELDS = ("redirect", "max_file_size", "max_file_count", "expires")


def form(swift: Swift, path: str, files: dict[str, bytes], key: str = KEY, root: str = BASE, **fields: str) -> Answer:
    fields = {"max_file_size": "100", "max_file_count": "2", "expires": str(until(swift)), **fields}
    text = "\n".join([f"{root}/AUTH_project-1{path}", *(fields.get(name, "") for name in FIELDS)])
    fields.setdefault("signature", hmac.new(key.encode(), text.encode(), "sha256").hexdigest())
    lines = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()
    ]
    for name, data in files.items():
        head = f'--x\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\nContent-Type: a/b\r\n\r\n'
        lines.append(head.encode() + data + b"\r\n")
    body = b"".join(lines) + b"--x--\r\n"
    return swift.ask("POST", path, token="", body=body, content_type="multipart/form-data; boundary=x")


@pytest.mark.parametrize("root", ["/v1", BASE])
def test_forms(swift: Swift, root: str) -> None:
    data = b"line\r\n--x not the end\r\n" + bytes(range(70))
    answer = form(swift, "/c/up/", {"one": data, "two": b""}, root=root, x_delete_after="100")
    assert answer.status == 201, answer.body
    got = swift.get("/c/up/one")
    assert (got.body, got.headers["content-type"]) == (data, "a/b")
    assert "x-delete-at" in got.headers
    assert swift.get("/c/up/two").body == b""
    answer = form(swift, "/c/", {"three": b"3"}, redirect="http://x/?a=b", root=root)
    assert (answer.status, answer.headers["location"]) == (303, "http://x/?a=b&status=201&message=")


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"signature": "0" * 64}, 401, b"Invalid Signature"), ({"signature": "x"}, 401, b"Invalid Signature"),
        ({"key": "other"}, 401, b"Invalid Signature"), ({"expires": "1"}, 401, b"Form Expired"),
        ({"expires": "x"}, 400, b"expires not an integer"), ({"max_file_size": "2"}, 400, b"max_file_size exceeded"),
        ({"max_file_count": "0"}, 400, b"Max File Count Exceeded"), ({"max_file_count": "x"}, 400, b"max_file_count not an integer"),
        ({"x_delete_at": "x"}, 400, b"x_delete_at not an integer"),
    ],
)  # fmt: skip
def test_bad_forms(swift: Swift, fields: dict[str, str], status: int, text: bytes) -> None:
    answer = form(swift, "/c/up/", {"one": b"123"}, **fields)
    assert (answer.status, text in answer.body) == (status, True), answer.body
    assert "up/one" not in swift.names("/c")


def test_forms_that_are_none(swift: Swift) -> None:
    for body in (b"", b"rubbish", b"--y\r\n", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nvalue"):
        answer = swift.ask("POST", "/c/o", token="", body=body, content_type="multipart/form-data; boundary=x")
        assert answer.status == 400, body
    assert form(swift, "/c/", {}).body.endswith(b"No Files To Process")
    assert form(swift, "/none/", {"a": b"1"}).status == 404
