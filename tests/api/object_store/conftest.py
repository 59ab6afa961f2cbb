"""A Swift for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.object_store.swift import Swift


@pytest.fixture
def swift(tmp_path: Path) -> Iterator[Swift]:
    made = Swift(tmp_path)
    yield made
    made.close()
