"""The object store under fire, briefly; ten minutes of it by `python -m tests.probe.object_fire`."""

import os
from pathlib import Path

import pytest

from tests.probe.object_fire import burn
from tests.probe.object_load import ABSENT, History

pytestmark = [pytest.mark.probe, pytest.mark.slow]


@pytest.mark.timeout(400)
def test_nothing_acknowledged_is_lost_and_redundancy_comes_back(tmp_path: Path) -> None:
    seed = int(os.environ.get("HEDGEROW_PROBE_SEED", "3"))
    done = burn(tmp_path, nodes=3, seconds=8, seed=seed, least=3)
    assert min(done["put"], done["get"], done["list"]) > 0


def test_the_checker_finds_what_was_lost_or_came_back() -> None:
    history = History()
    first = history.begin(b"first")
    history.end(first, good=True)
    assert history.allows(b"first", history.look())
    assert not history.allows(ABSENT, history.look())
    torn = history.begin(b"torn")
    assert history.allows(b"first", first)
    assert history.allows(b"torn", first)
    history.end(torn, good=False)
    last = history.begin(ABSENT)
    history.end(last, good=True)
    assert history.allows(ABSENT, history.look())
    assert not history.allows(b"first", history.look())
    assert history.allows(b"torn", history.look())  # nobody knows whether it was
    assert not history.allows(b"strange", history.look())
