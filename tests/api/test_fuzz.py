"""No path, header or body makes the cloud answer 500.

Which requests are sent is fixed by the commit: a fixed seed, a fixed number of requests, ids that the seed draws. So
a commit that was green stays green, in CI and everywhere. Who looks for new findings draws others:

    HEDGEROW_FUZZ_SEED=random HEDGEROW_FUZZ_S=300 scripts/test tests/api/test_fuzz.py

HEDGEROW_FUZZ_SEED is a number or `random` (a failure prints the number), HEDGEROW_FUZZ_S is how many seconds each test
looks, instead of the fixed number of requests. A finding gets a plain test of its own where its mistake was made.
"""

import json
import random
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
    budget,
    calls,
    draw,
    paths,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(10 * BUDGET_S + 900),
    pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning"),
]
METHODS = st.sampled_from(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"))


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.cloud.machine.close()


def fitting(world: World) -> st.SearchStrategy[tuple[str, str, bytes]]:
    @st.composite
    def requests(draw: st.DrawFn) -> tuple[str, str, bytes]:
        service, route = draw(calls(world))
        path = draw(paths(world, service, route))
        if route.method in ("GET", "HEAD") and draw(st.integers(0, 5)):
            return route.method, path, b""
        return route.method, path, draw(bodies(world, service, route))

    return requests()


def test_bodies_and_queries_that_nearly_fit(world: World) -> None:
    count = draw(fitting(world), lambda r: world.send(r[0], r[1], body=r[2]), budget())
    assert count > 20
    assert world.findings == {}, world.report()


def test_a_seed_sends_the_same_requests(tmp_path_factory: pytest.TempPathFactory) -> None:
    sent = set()
    for _time in range(2):
        world = World(tmp_path_factory.mktemp("again"))
        draw(fitting(world), lambda r, w=world: w.send(r[0], r[1], body=r[2]), iter(range(400)))
        world.cloud.machine.close()
        sent.add(world.all_sent.hexdigest())
    assert len(sent) == 1


def test_headers_and_paths_of_any_kind(world: World) -> None:
    known = calls(world).flatmap(lambda call: paths(world, *call))
    requests = st.tuples(METHODS, st.one_of(known, known, WILD_PATHS), HEADERS, RAW_BODIES)
    count = draw(requests, lambda r: world.send(r[0], r[1], headers=r[2], body=r[3]), budget())
    assert count > 20
    assert world.findings == {}, world.report()


def test_what_the_openapi_document_describes(world: World) -> None:
    schema = schemathesis.openapi.from_dict(document(world.cloud.services))
    operations = [found.ok() for found in schema.get_all_operations()]
    random.Random(SEED).shuffle(operations)
    seen = 0
    for _turn, operation in zip(budget(), operations, strict=False):
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
