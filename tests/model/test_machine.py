"""The store does what a store of dicts does."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from node.state.machine import Machine
from node.state.reader import Reader
from node.state.txn import Count, Txn, encode_entry, encode_txn
from tests.model.rows import COUNTERS, DEFINED, TABLES, Model, Note, Thing, directory, txns, verdict


@contextmanager
def machine() -> Iterator[Machine]:
    with directory() as here:
        made = Machine(here / "state.db")
        yield made
        made.close()


def held(store: Machine, table: str) -> dict[str, tuple[int, Any]]:
    found = store.db.execute(f'SELECT id, rev, doc FROM "{table}"')
    return {key: (rev, msgspec.json.decode(doc)) for key, rev, doc in found}


def agrees(answer: bytes, expected: Any) -> bool:
    found = verdict(answer)
    if isinstance(expected, tuple):
        return isinstance(found, tuple) and found[0] == expected[0] and found[1] in expected[1]
    return bool(found == expected)


@settings(deadline=None, max_examples=150)
@given(batches=st.lists(st.lists(txns(), min_size=1, max_size=4), min_size=1, max_size=12))
def test_it_does_what_the_model_does(batches: list[list[Txn]]) -> None:
    model = Model()
    with machine() as store:
        for index, batch in enumerate([[DEFINED], *batches], start=1):
            expected = [model.apply(txn) for txn in batch]
            answers = store.apply(index, encode_entry([encode_txn(txn) for txn in batch]))
            for txn, answer, wanted in zip(batch, answers, expected, strict=True):
                assert agrees(answer, wanted), (txn, verdict(answer), wanted)
        for table in TABLES:
            assert held(store, table) == model.tables[table]
        reader = Reader(store.path)
        for name in COUNTERS:
            assert reader.counter(name) == model.counters.get(name, 0)
        for row_type in (
            Thing,
            Note,
        ):  # all that was stored can be read back by its generated columns
            assert reader.count(row_type) == len(model.tables[row_type.__table__.name])
        reader.close()


@settings(deadline=None, max_examples=100)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(COUNTERS), st.integers(-4, 4), st.integers(0, 5)), max_size=40
    )
)
def test_a_counter_never_passes_its_limit_nor_zero(steps: list[tuple[str, int, int]]) -> None:
    with machine() as store:
        values = dict.fromkeys(COUNTERS, 0)
        for index, (name, delta, limit) in enumerate(steps, start=1):
            txn = Txn(request_id=str(index), ops=(Count(name, delta, limit),))
            refused = isinstance(
                verdict(store.apply(index, encode_entry([encode_txn(txn)]))[0]), tuple
            )
            reader = Reader(store.path)
            now = reader.counter(name)
            reader.close()
            assert now >= 0
            assert refused == (delta > 0 and values[name] + delta > limit)
            if delta > 0 and not refused:
                assert now <= limit
            assert now == (values[name] if refused else max(0, values[name] + delta))
            values[name] = now


@settings(deadline=None, max_examples=100)
@given(batch=st.lists(txns(), min_size=2, max_size=6))
def test_a_repeated_request_gets_the_same_answer(batch: list[Txn]) -> None:
    with machine() as store:
        store.apply(1, encode_entry([encode_txn(DEFINED)]))
        encoded = [encode_txn(txn) for txn in batch]
        first = store.apply(2, encode_entry(encoded))
        before = {table: held(store, table) for table in TABLES}
        again = store.apply(3, encode_entry(encoded))
        assert again == first
        assert {table: held(store, table) for table in TABLES} == before
