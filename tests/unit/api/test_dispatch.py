"""One request through the framework: the order of its checks, what is told to whom, and how it fails."""

import io
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from node.api.app import build
from node.api.dispatch import Backend
from node.api.policy import collect
from node.sdk import insert
from node.state.reader import Readers
from node.testing import Cloud
from tests.unit.api import gadget
from tests.unit.api.gadget import Gadget

GADGETS = "/gadget/v1/gadgets"


class Untouchable(io.RawIOBase):
    """A body that must not be read."""

    def read(self, size: int = -1) -> bytes:
        raise AssertionError("the body was read")


def wsgi(cloud: Cloud, method: str, path: str, body: Any, **headers: str) -> str:
    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "c",
        "SERVER_PORT": "1", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "https", "wsgi.input": body,
        "wsgi.errors": io.StringIO(), "CONTENT_LENGTH": "10", "HTTP_HOST": "c:1", **headers,
    }  # fmt: skip
    seen: list[str] = []
    list(cloud.app(environ, lambda status, *_more: seen.append(status)))
    return seen[0][:3]


@pytest.mark.parametrize(
    ("method", "path", "roles", "status"),
    [
        ("POST", GADGETS, None, "401"),
        ("POST", GADGETS, ("reader",), "403"),
        ("PUT", f"{GADGETS}/x", None, "401"),
        ("PUT", f"{GADGETS}/x", ("reader",), "403"),
        ("POST", f"{GADGETS}/x/action", None, "401"),
        ("POST", "/gadget/v1/owned", None, "401"),
        ("POST", "/gadget/v1/nowhere", ("admin",), "404"),
        ("PATCH", GADGETS, ("admin",), "405"),
    ],
)
def test_nothing_of_a_refused_body_is_read(
    cloud: Cloud, method: str, path: str, roles: tuple[str, ...] | None, status: str
) -> None:
    token = {"HTTP_X_AUTH_TOKEN": cloud.token(roles=roles)} if roles else {}
    assert wsgi(cloud, method, path, Untouchable(), **token) == status


def test_a_body_that_is_too_long_is_refused_by_its_announcement(cloud: Cloud) -> None:
    more = {"CONTENT_LENGTH": "99999999", "HTTP_X_AUTH_TOKEN": cloud.token()}
    assert wsgi(cloud, "POST", GADGETS, Untouchable(), **more) == "413"


@pytest.mark.parametrize("length", ["", "abc", "-5", "1e3", "٣"])
def test_a_length_that_is_none_is_no_body(cloud: Cloud, length: str) -> None:
    more = {"CONTENT_LENGTH": length, "HTTP_X_AUTH_TOKEN": cloud.token()}
    assert wsgi(cloud, "POST", GADGETS, Untouchable(), **more) == "400"


def test_a_truncated_body_is_not_committed(cloud: Cloud) -> None:
    token = cloud.token()
    more = {"CONTENT_LENGTH": "500", "HTTP_X_AUTH_TOKEN": token}
    assert wsgi(cloud, "PUT", f"{GADGETS}/short", io.BytesIO(b"x" * 400), **more) == "400"
    assert wsgi(cloud, "POST", GADGETS, io.BytesIO(b'{"name": "short"}'), **more) == "400"
    assert cloud.db.rows(Gadget) == []
    assert wsgi(cloud, "PUT", f"{GADGETS}/whole", io.BytesIO(b"x" * 500), **more) == "201"
    assert cloud.db.must(Gadget, "whole").size_bytes == 500


def test_actions_go_to_their_route(cloud: Cloud) -> None:
    path, admin, member = f"{GADGETS}/g/action", cloud.token(roles=("admin",)), cloud.token()
    new = {"X-Gadget-Version": "latest"}
    assert cloud.post(path, json={"push": {"hard": True}}, token=admin).json["hard"] is True
    assert cloud.post(path, json={"push": {}}, token=member).status == 403
    assert cloud.post(path, json={"pull": [1]}, token=member, headers=new).json["given"] == [1]
    for wrong in ({"push": {"x": 1}}, {"push": 5}, {"jump": {}}, {"push": {}, "pull": {}}, {}, []):
        assert cloud.post(path, json=wrong, token=admin, headers=new).status == 400, wrong


def test_a_target_of_the_body_is_asked_for_after_the_body(cloud: Cloud) -> None:
    mine = cloud.token(project_id="p1")
    assert cloud.post("/gadget/v1/owned", json={"owner": "p1"}, token=mine).status == 200
    assert cloud.post("/gadget/v1/owned", json={"owner": "p2"}, token=mine).status == 403
    assert cloud.post("/gadget/v1/owned", json=["p1"], token=mine).status == 400


def test_bodies_and_queries_of_a_type(cloud: Cloud) -> None:
    token = cloud.token()
    for wrong in ({}, {"name": 1}, {"name": "a", "b": 1}, [], None):
        answer = cloud.post(
            GADGETS, body=b"null" if wrong is None else None, json=wrong, token=token
        )
        assert answer.status == 400
        assert answer.json["gadgetFault"]["message"].startswith("Invalid input")
    assert cloud.get(f"{GADGETS}?limit=3&tag=a&tag=b", token=token).json["tags"] == ["a", "b"]
    assert cloud.get(f"{GADGETS}?colour=red", token=token).status == 400


@pytest.mark.parametrize(
    "name", [b'"a\\u0000"', b'"\\ud800"', b'"\\udfff\\ud800"', b'"\xff"', b'"a\0"']
)
def test_names_that_no_row_can_hold(cloud: Cloud, name: bytes) -> None:
    token = cloud.token()
    assert cloud.post(GADGETS, body=b'{"name": ' + name + b"}", token=token).status == 400
    assert cloud.db.rows(Gadget) == []


def test_what_a_handler_lets_through_and_no_row_can_hold_is_the_clients_mistake(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """The last line: a handler that makes a name of its own from what was sent."""
    answer = cloud.post("/gadget/v1/unchecked", token=cloud.token())
    assert answer.status == 400, answer.body
    assert "gadgets" in caplog.text


def test_the_answers_of_the_framework_itself(cloud: Cloud) -> None:
    token = cloud.token()
    for answer, status in (
        (cloud.get("/gadget/v1/nowhere", token=token), 404),
        (cloud.get("/gadget/v1/nowhere", token="wrong"), 401),
        (cloud.get("/gadget/v1/nowhere"), 404),
        (cloud.delete(GADGETS, token=token), 405),
        (cloud.get(f"{GADGETS}/none", token=token), 404),
        (cloud.get(GADGETS), 401),
    ):
        assert answer.status == status
        assert "message" in answer.json["gadgetFault"]
        assert answer.headers["x-openstack-request-id"].startswith("req-")
    assert "POST" in cloud.delete(GADGETS, token=token).headers["allow"]
    assert cloud.get("/elsewhere").json["error"]["code"] == 404
    assert cloud.get("/gadgets").status == 404  # not `/gadget`'s


def test_a_crash_tells_nothing_and_is_logged(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    answer = cloud.get("/gadget/v1/crash", token=cloud.token())
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "a secret" in caplog.text


def test_request_ids_differ_and_are_on_every_answer(cloud: Cloud) -> None:
    token = cloud.token()
    ids = {cloud.get(GADGETS, token=token).headers["x-openstack-request-id"] for _ in range(5)}
    assert len(ids) == 5


def test_headers_cannot_split_the_answer(cloud: Cloud) -> None:
    value = "%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0abody%c3%a9%01"
    answer = cloud.get(f"/gadget/v1/header?value={value}", token=cloud.token())
    assert answer.status == 200
    assert "set-cookie" not in answer.headers
    assert not set("\r\n\x01") & set(answer.headers["x-echo"])


def test_statuses_without_a_body(cloud: Cloud) -> None:
    cloud.commit(insert(Gadget(id="g", name="g")))
    token = cloud.token()
    answer = cloud.delete(f"{GADGETS}/g", token=token)
    assert (answer.status, answer.body) == (204, b"")
    head = cloud.head(f"{GADGETS}/g", token=token)
    assert (head.status, head.body) == (200, b"")


PARTS = {"": 1000, "?offset=100&length=900": 900, "?offset=10&length=20": 20, "?length=5": 5}


@pytest.mark.parametrize(("query", "size"), PARTS.items())
def test_parts_of_files(cloud: Cloud, tmp_path: Path, query: str, size: int) -> None:
    data = bytes(range(250)) * 4
    (tmp_path / "blob").write_bytes(data)
    offset = 100 if "100" in query else 10 if "10" in query else 0
    answer = cloud.get(f"/gadget/v1/file{query}", token=cloud.token())
    assert answer.body == data[offset : offset + size]
    assert answer.headers["content-length"] == str(size)


def test_an_iterator_with_its_length(cloud: Cloud) -> None:
    answer = cloud.get("/gadget/v1/blob", token=cloud.token())
    assert answer.headers["content-length"] == "1500"
    assert answer.body == b"a" * 1000 + b"b" * 500


ACCESS = [
    ({"service": "gadget", "method": "GET", "path": "/v1/gadgets"}, True),
    ({"service": "gadget", "method": "GET", "path": "/v1/*"}, True),
    ({"service": "gadget", "method": "GET", "path": "/v1/{anything}"}, True),
    ({"service": "gadget", "method": "GET", "path": "/v1/**"}, True),
    ({"service": "gadget", "method": "GET", "path": "/**"}, True),
    ({"service": "gadget", "method": "GET", "path": "/v1/gadgets/**"}, True),
    ({"service": "gadget", "method": "POST", "path": "/v1/gadgets"}, False),
    ({"service": "compute", "method": "GET", "path": "/v1/gadgets"}, False),
    ({"service": "gadget", "method": "GET", "path": "/v1"}, False),
    ({"service": "gadget", "method": "GET", "path": "/v1/gad*"}, False),
    ({"service": "gadget", "method": "GET", "path": "/*"}, False),
    ({"service": "gadget", "method": "GET", "path": ""}, False),
]


@pytest.mark.parametrize(("rule", "allowed"), ACCESS, ids=range(len(ACCESS)))
def test_access_rules_of_application_credentials(
    cloud: Cloud, rule: dict[str, str], allowed: bool
) -> None:
    token = cloud.token(access_rules=(rule,))
    assert cloud.get(GADGETS, token=token).status == (200 if allowed else 401)
    assert cloud.get(GADGETS, token=cloud.token(access_rules=())).status == 401


def test_a_raw_path_is_given_undecoded(cloud: Cloud) -> None:
    answer = cloud.get("/gadget/v1/echo/a%2Fb%20c", token=cloud.token())
    assert answer.json["rest"] == "a/b c"


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("a", "a"),
        ("a/", "a/"),
        ("a//b", "a//b"),
        ("/a", "/a"),
        ("a%2Fb/", "a/b/"),
        ("%C3%A4?x=/y", "ä"),
        ("a/.././b", "a/.././b"),
    ],
)
def test_the_rest_of_a_path_is_what_was_sent(cloud: Cloud, sent: str, name: str) -> None:
    assert cloud.get(f"/gadget/v1/echo/{sent}", token=cloud.token()).json["rest"] == name


def test_a_query_parameter_selects_a_route(cloud: Cloud) -> None:
    token = cloud.token()
    assert cloud.get("/gadget/v1/echo/a/b?tagging", token=token).json == {"tags of": "a/b"}
    assert cloud.get("/gadget/v1/echo/a/b?tagging=&x=1", token=token).json == {"tags of": "a/b"}
    assert cloud.get("/gadget/v1/echo/a/b?other", token=token).json["rest"] == "a/b"


def test_an_endpoint_that_decides_for_itself_still_takes_no_wrong_token(cloud: Cloud) -> None:
    assert cloud.request("OPTIONS", "/gadget/v1/door").json == {"who": "nobody"}
    assert cloud.request("OPTIONS", "/gadget/v1/door", token=cloud.token()).json == {"who": "user-1"}
    assert cloud.request("OPTIONS", "/gadget/v1/door", token="wrong").status == 401


def backend(cloud: Cloud, policies: dict[str, str]) -> Backend:
    return Backend(
        readers=cloud._readers, proposer=cloud.proposer, policies=collect([policies], ""),
        hooks=cloud.host.manager, config=cloud.config, clock=cloud.clock, ids=cloud.ids,
    )  # fmt: skip


@pytest.mark.parametrize("fresh", [True, False])
def test_rows_that_may_be_old_are_called_so(cloud: Cloud, fresh: bool) -> None:
    import msgspec

    some = msgspec.structs.replace(backend(cloud, {}), is_fresh=lambda _db: fresh)
    client = falcon.testing.TestClient(build(some, [gadget.GADGETS]))
    answer = client.simulate_get(GADGETS, headers={"X-Auth-Token": cloud.token()})
    assert ("Stale" in answer.headers.get("warning", "")) is not fresh


def test_a_store_that_cannot_be_opened_is_no_html_page(cloud: Cloud, tmp_path: Path) -> None:
    import msgspec

    lost = msgspec.structs.replace(
        backend(cloud, {}), readers=Readers(tmp_path / "no" / "state.db")
    )
    client = falcon.testing.TestClient(build(lost, [gadget.GADGETS]))
    for path in (f"{GADGETS}/x", "/gadget/v1/nowhere"):
        answer = client.simulate_get(path, headers={"X-Auth-Token": cloud.token()})
        assert answer.status_code in (404, 503), answer.text
        assert "message" in answer.json["gadgetFault"]
    assert (
        client.simulate_get(f"{GADGETS}/x", headers={"X-Auth-Token": cloud.token()}).status_code
        == 503
    )


def test_routes_that_cannot_be_told_apart_stop_the_start(cloud: Cloud) -> None:
    import msgspec

    for change in ({"method": "BREW"}, {"action": "x"}):
        routes = (*gadget.ROUTES, msgspec.structs.replace(gadget.ROUTES[2], **change))
        with pytest.raises(ValueError):
            build(backend(cloud, {}), [msgspec.structs.replace(gadget.GADGETS, routes=routes)])
