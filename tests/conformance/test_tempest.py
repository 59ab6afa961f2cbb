"""OpenStack's own tests: what has passed once must pass for ever.

`passing/*.txt` hold the ids, one a line; they only grow. Each file is a test of its own here. CI runs `smoke-*.txt`;
`HEDGEROW_TEMPEST=all` runs every file (docs/conformance.md).
"""

import os
from pathlib import Path

import pytest

from node.testing.tempest import Tempest

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(5400)]

_LISTS = Path(__file__).with_name("passing")
_PATTERN = "*.txt" if os.environ.get("HEDGEROW_TEMPEST") == "all" else "smoke-*.txt"
_SECONDS_A_TEST = 60
_SECONDS_AT_LEAST = 900


def _ids(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


@pytest.mark.parametrize("name", sorted(path.name for path in _LISTS.glob(_PATTERN)))
def test_what_passed_still_passes(tempest: Tempest, name: str) -> None:
    wanted = _ids(_LISTS / name)
    limit_s = max(_SECONDS_AT_LEAST, _SECONDS_A_TEST * len(wanted))
    results = tempest.run(wanted, timeout_s=limit_s)
    lost = {
        test: results.get(test, "no result") for test in wanted if results.get(test) != "success"
    }
    assert not lost, f"{len(lost)} of {len(wanted)} no longer pass: {lost}\n{tempest.log()[-8000:]}"


def test_the_lists_are_sorted_and_name_each_test_once() -> None:
    seen: set[str] = set()
    for path in sorted(_LISTS.glob("*.txt")):
        ids = _ids(path)
        assert ids == sorted(ids), f"{path.name} is not sorted"
        assert not seen & set(ids), f"{path.name} repeats {sorted(seen & set(ids))}"
        seen |= set(ids)
    assert len(seen) >= 83, "the lists only grow"
