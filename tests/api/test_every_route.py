"""Every endpoint of every built-in service: refuses strangers, survives any body, never answers 500."""

import importlib
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from node.api.route import Route, Service
from node.pluginhost import BUILTIN, PluginHost
from node.testing import Cloud
from node.testing.memory_objects import MemoryObjects

PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
NO_ID = "00000000-0000-4000-8000-000000000000"
BODIES = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"{}",
    b'{"x": {"y": 1}}',
    b"\xff\xfe",
    b'{"a": 1e999}',
    b"[" * 2000,
)
VALUES: tuple[Any, ...] = (None, {}, [], "x", -1, True, {"x": 1}, {"name": None}, {"name": "\x00"})


def services() -> tuple[Service, ...]:
    host = PluginHost()
    host.load()
    return tuple(service for _name, some in host.gather("services") for service in some)


CALLS = [(service, route) for service in services() for route in service.routes]


def name_of(call: tuple[Service, Route]) -> str:
    service, route = call
    return " ".join(
        filter(None, (service.name, route.method, route.path, route.action, route.since))
    )


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    # All built-in plugins, but tokens that the test makes itself.
    plugins = []
    for name in BUILTIN:
        module = importlib.import_module(name)
        hooks = {key: value for key, value in vars(module).items() if key != "token_verify"}
        plugins.append(SimpleNamespace(**hooks))
    made = Cloud(tmp_path_factory.mktemp("cloud"), plugins)
    made.backend.kept.put("object.store", MemoryObjects(made.clock))
    yield made
    made.machine.close()


def url(service: Service, route: Route) -> str:
    return ("" if route.at_root else service.path) + PARAMETER.sub(NO_ID, route.path)


def headers(service: Service, route: Route) -> dict[str, str]:
    versions = service.microversions
    if versions is None or (route.since is None and route.until is None):
        return {}
    return {"OpenStack-API-Version": f"{versions.service_type} {route.since or route.until}"}


@pytest.mark.parametrize("call", CALLS, ids=name_of)
def test_a_stranger_is_refused(cloud: Cloud, call: tuple[Service, Route]) -> None:
    service, route = call
    if route.policy == "public":
        answer = cloud.request(route.method, url(service, route), headers=headers(service, route))
        assert answer.status < 500
        return
    if route.policy == "own":  # access lists of its own have tests of their own: here, that nothing is open by itself
        answer = cloud.request(route.method, url(service, route), headers=headers(service, route))
        assert answer.status < 500
        answer = cloud.request(route.method, url(service, route), token="no-such-token")
        assert answer.status == 401, answer.body
        return
    for token in ("", "no-such-token"):
        answer = cloud.request(
            route.method, url(service, route), token=token, headers=headers(service, route), json={}
        )
        assert answer.status == 401, answer.body
    assert answer.headers.get("x-openstack-request-id", "").startswith("req-")


def bodies(route: Route) -> Iterator[bytes]:
    yield from BODIES
    for value in VALUES:
        if route.action:
            yield msgspec.json.encode({route.action: value})
        for field in getattr(route.body, "__struct_fields__", ()):
            yield msgspec.json.encode({field: value})


@pytest.mark.parametrize("call", CALLS, ids=name_of)
def test_no_body_makes_it_fail(cloud: Cloud, call: tuple[Service, Route]) -> None:
    service, route = call
    token = cloud.token(roles=("admin",), project_id=NO_ID, user_id=NO_ID)
    reads = (
        route.method in ("GET", "HEAD", "DELETE", "OPTIONS") and not route.body and not route.action
    )
    sent = [b""] if reads else dict.fromkeys(bodies(route))
    more = {**headers(service, route), "Content-Type": "application/json"}
    failed = {}
    for body in sent:
        answer = cloud.request(
            route.method, url(service, route), token=token, headers=more, body=body
        )
        if answer.status >= 500 and answer.status != 501:
            failed[body] = (answer.status, answer.body[:200])
        elif answer.status >= 400 and answer.body:
            assert answer.headers.get("content-type", "").startswith(
                ("application/json", "application/xml", "text/")
            ), body
    assert failed == {}


QUERIES = (
    "limit=x",
    "limit=-1",
    "marker=nowhere",
    "sort_key=%00",
    "a=b&a=c",
    "%ff=%fe",
    "fields=",
    "limit=9" + "9" * 30,
)


@pytest.mark.parametrize("call", [c for c in CALLS if c[1].method == "GET"], ids=name_of)
def test_no_query_makes_it_fail(cloud: Cloud, call: tuple[Service, Route]) -> None:
    service, route = call
    token = cloud.token(roles=("admin",), project_id=NO_ID, user_id=NO_ID)
    failed = {}
    for query in QUERIES:
        answer = cloud.get(
            f"{url(service, route)}?{query}", token=token, headers=headers(service, route)
        )
        if answer.status >= 500:
            failed[query] = (answer.status, answer.body[:200])
    assert failed == {}


@pytest.mark.parametrize("call", CALLS, ids=name_of)
def test_a_nul_is_refused_wherever_it_stands(cloud: Cloud, call: tuple[Service, Route]) -> None:
    """No row can hold one, so none may come as far as a row's id, a field of it or a question about it."""
    service, route = call
    token = "" if route.policy == "public" else cloud.token(roles=("admin",), project_id=NO_ID)
    more = {**headers(service, route), "Content-Type": "application/json"}
    body = msgspec.json.encode({route.action: None} if route.action else {})
    path = url(service, route)
    if route.peers_only:  # to everybody else there is no such path
        assert cloud.request(route.method, path, token=token).status == 404
        return
    asked = {f"{path}?name=a%00b": 400, f"{path}?%00=x": 400}
    if route.policy == "own" and "{" in route.path:  # words of its own for names of its own
        answer = cloud.request(route.method, service.path + PARAMETER.sub("a%00", route.path), token=token)
        assert answer.status in (400, 404, 412)
    elif "{" in route.path:
        asked[service.path + PARAMETER.sub("a%00", route.path)] = 404
    for what, status in asked.items():
        answer = cloud.request(route.method, what, token=token, headers=more, body=body)
        assert answer.status == status, (what, answer.body)
        own = service.type in ("object-store", "s3")  # they answer in words of their own
        kinds = ("application/json", "application/xml", "text/html") if own else "application/json"
        assert not answer.body or answer.headers["content-type"].startswith(kinds)
    answer = cloud.request(
        route.method, path, token=token, headers={**more, "X-Name": "a\x00b"}, body=body
    )
    assert answer.status == 400, answer.body
