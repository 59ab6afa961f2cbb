"""The locked lists hold everything that is declared, each with its hashes, and nothing of a machine."""

import re
import tomllib
from collections.abc import Iterable

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.meta.tree import REPO

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
RUNTIME = PROJECT["dependencies"]
TEST = RUNTIME + PROJECT["optional-dependencies"]["test"]
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)
LOCKS = ("requirements.lock", "requirements-build.lock", "requirements-test.lock")


def pins(lock: str) -> dict[str, str]:
    found = PIN.findall((REPO / lock).read_text())
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize(
    ("lock", "declared"),
    [("requirements.lock", RUNTIME), ("requirements-test.lock", TEST)],
    ids=["runtime", "test"],
)
def test_each_dependency_is_locked_within_its_range(lock: str, declared: Iterable[str]) -> None:
    locked = pins(lock)
    for text in declared:
        requirement = Requirement(text)
        version = locked.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in {lock}: run scripts/lock"
        assert requirement.specifier.contains(version), (
            f"{text} is locked at {version}: run scripts/lock"
        )


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_has_hashes_and_no_index(lock: str) -> None:
    text = (REPO / lock).read_text()
    entries = [block for block in re.split(r"\n(?=[a-z0-9])", text) if PIN.match(block)]
    assert len(entries) == len(pins(lock)) > 0
    assert [block.split("==")[0] for block in entries if "--hash=sha256:" not in block] == []
    assert "://" not in text
    assert "--index" not in text


def test_tests_run_with_the_versions_that_ship() -> None:
    test = pins("requirements-test.lock")
    assert {name: test.get(name) for name in pins("requirements.lock")} == pins("requirements.lock")


def test_the_foreign_distribution_called_node_is_nowhere() -> None:
    for lock in LOCKS:
        assert "node" not in pins(lock)
