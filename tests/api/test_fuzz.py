"""No path, header or body makes the cloud answer 500.

HEDGEROW_FUZZ_S is how long each test looks (seconds); HEDGEROW_FUZZ_SEED draws the same requests again.
"""

import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from node.api.openapi import document
from tests.api.fuzz import (
    BUDGET_S,
    EXPLORING,
    HEADERS,
    RAW_BODIES,
    SEED,
    WILD_PATHS,
    World,
    bodies,
    calls,
    draw_for,
    paths,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(10 * BUDGET_S + 120),
    pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning"),
]
METHODS = st.sampled_from(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"))


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.cloud.machine.close()


def test_bodies_and_queries_that_nearly_fit(world: World) -> None:
    @st.composite
    def requests(draw: st.DrawFn) -> tuple[str, str, bytes]:
        service, route = draw(calls(world))
        path = draw(paths(world, service, route))
        if route.method in ("GET", "HEAD") and draw(st.integers(0, 5)):
            return route.method, path, b""
        return route.method, path, draw(bodies(world, service, route))

    count = draw_for(2 * BUDGET_S, requests(), lambda r: world.send(r[0], r[1], body=r[2]))
    assert count > 20
    assert world.findings == {}, world.report()


def test_headers_and_paths_of_any_kind(world: World) -> None:
    known = calls(world).flatmap(lambda call: paths(world, *call))
    requests = st.tuples(METHODS, st.one_of(known, known, WILD_PATHS), HEADERS, RAW_BODIES)
    count = draw_for(BUDGET_S, requests, lambda r: world.send(r[0], r[1], headers=r[2], body=r[3]))
    assert count > 20
    assert world.findings == {}, world.report()


def test_what_the_openapi_document_describes(world: World) -> None:
    schema = schemathesis.openapi.from_dict(document(world.cloud.services))
    operations = [found.ok() for found in schema.get_all_operations()]
    random.Random(SEED).shuffle(operations)
    end, seen = time.monotonic() + BUDGET_S, 0
    for operation in operations:
        if time.monotonic() > end:
            break
        seen += 1

        @seed(SEED)
        @settings(EXPLORING, max_examples=6)
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            path = case.formatted_path
            body = (
                b""
                if isinstance(case.body, schemathesis.core.NotSet)
                else json.dumps(case.body).encode()
            )
            world.send(case.method, path, body=body)

        send()
    assert seen > 5
    assert world.findings == {}, world.report()
