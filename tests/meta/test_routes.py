"""Every endpoint is whole: policy, parameters, status, and a test that calls it."""

import inspect
import re
from collections import Counter

import pytest

from node.api.route import Route, Service
from node.pluginhost import BUILTIN, PluginHost
from tests.meta.tree import REPO

OPEN = {"public", "any", "own"}
PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


def load_services() -> tuple[Service, ...]:
    host = PluginHost()
    host.load()
    assert host.failures() == {}
    return tuple(service for _name, some in host.gather("services") for service in some)


SERVICES = load_services()
ROUTES = [(service, route) for service in SERVICES for route in service.routes]


def name_of(pair: tuple[Service, Route]) -> str:
    service, route = pair
    return " ".join(
        filter(None, (service.name, route.method, route.path, route.action, route.since))
    )


def test_the_built_in_services_are_there() -> None:
    # Each built-in plugin serves an API: one that fails to say so would leave its rules unchecked.
    assert len(SERVICES) >= len(BUILTIN)
    assert len(ROUTES) > 100


def test_every_route_is_guarded_by_a_policy_that_exists() -> None:
    unknown = [
        f"{name_of((service, route))}: {route.policy}"
        for service, route in ROUTES
        if route.policy not in OPEN and route.policy not in service.policies
    ]
    assert unknown == []


def test_only_discovery_and_signing_in_are_open_to_everybody() -> None:
    # An endpoint without a token is a decision: it stands here by name.
    bare = {
        f"{s.type} {r.method}"
        for s, r in ROUTES
        if r.policy == "public"
        and PARAMETER.search(r.path)
        and not r.path.endswith("/password")
        and not r.peers_only
    }
    writes = {
        f"{s.type} {r.method} {r.path}"
        for s, r in ROUTES
        if r.policy == "public" and r.method not in ("GET", "HEAD", "OPTIONS") and not r.peers_only
    }
    assert bare <= {"identity POST"}
    assert writes <= {"identity POST /v3/auth/tokens", "identity POST /v3/users/{user_id}/password"}


def test_what_other_nodes_ask_is_read_by_their_certificates_right_alone() -> None:
    # No token comes with it, so it must not depend on one.
    assert {r.policy for _s, r in ROUTES if r.peers_only} <= {"public"}


def test_who_decides_for_itself_is_a_service_with_access_lists_of_its_own() -> None:
    assert {s.type for s, r in ROUTES if r.policy == "own"} <= {"object-store", "s3"}


def test_no_two_routes_answer_the_same_call() -> None:
    calls = Counter(
        (
            "" if route.at_root else service.path,
            route.method,
            PARAMETER.sub("{}", route.path),
            route.action,
            route.select,
            route.since,
            route.until,
        )
        for service, route in ROUTES
    )
    assert [call for call, count in calls.items() if count > 1] == []


@pytest.mark.parametrize("pair", ROUTES, ids=name_of)
def test_a_handler_takes_the_parameters_of_its_path(pair: tuple[Service, Route]) -> None:
    _service, route = pair
    given = PARAMETER.findall(route.path)
    assert len(given) == len(set(given))
    inspect.signature(route.handler).bind(object(), **dict.fromkeys(given, "x"))
    if route.target is not None:
        inspect.signature(route.target).bind(object(), **dict.fromkeys(given, "x"))


def test_methods_and_statuses_are_of_http() -> None:
    assert {route.method for _s, route in ROUTES} <= {
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "COPY",
        "OPTIONS",
    }
    strange = [name_of((s, r)) for s, r in ROUTES if not 200 <= r.status < 400]
    assert strange == []


def test_a_reading_route_takes_no_body() -> None:
    assert [
        name_of((s, r)) for s, r in ROUTES if r.method in ("GET", "HEAD") and r.body is not None
    ] == []


def test_every_route_is_called_by_a_test() -> None:
    # tests/api/test_every_route.py calls each one: as a stranger, with bodies and with queries that are wrong.
    called = (REPO / "tests" / "api" / "test_every_route.py").read_text()
    assert (
        "CALLS = [(service, route) for service in services() for route in service.routes]" in called
    )
    assert "for name in BUILTIN:" in called
