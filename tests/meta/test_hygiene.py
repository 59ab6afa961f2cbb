"""What belongs in no commit, and lint rules that may not be switched off in place."""

import re
import tomllib
from pathlib import Path
from typing import Any

from tests.meta.tree import REPO, sources, tracked, where

# Written so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?:^|[^A-Za-z0-9_.])/(?:work|farm)/" + "[a-z.]")
PACKAGE_HOST = re.compile(
    r"https?://[^/\s\"']*(?:debian\.org|debian\.net|pypi\.org|pythonhosted\.org|npmjs\.\w+)"
)
DOCUMENTED = re.compile(r"#\s*noqa:[^#\n]*\b(?:D\d+|ANN\d+)")
BARE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)")


def matches(pattern: re.Pattern[str], paths: tuple[Path, ...]) -> list[str]:
    return [
        f"{where(path, number)} {line.strip()[:80]}"
        for path in paths
        if b"\0" not in path.read_bytes()[:4096]
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_path_of_a_machine_stands_in_the_project() -> None:
    assert matches(MACHINE_PATH, tracked()) == []


def test_no_package_host_stands_in_anything_that_installs() -> None:
    installers = tracked("scripts", "image", ".ci", "*.lock", "pyproject.toml")
    assert installers
    assert matches(PACKAGE_HOST, installers) == []


def pyproject() -> dict[str, Any]:
    return tomllib.loads((REPO / "pyproject.toml").read_text())


def test_every_public_name_is_documented_and_annotated() -> None:
    # ruff looks (D: docstrings, ANN: annotations) and mypy too; here: that nobody sends them away.
    lint = pyproject()["tool"]["ruff"]["lint"]
    assert {"D", "ANN"} <= set(lint["select"])
    exempt = {rule for rule in lint["ignore"] if re.match(r"D\d|ANN\d", rule)}
    assert exempt == {"ANN401", "D105", "D107", "D417"}
    assert pyproject()["tool"]["mypy"]["strict"] is True
    assert matches(DOCUMENTED, sources("node")) == []


def test_every_exemption_names_its_rule() -> None:
    assert matches(BARE_IGNORE, sources("node", "tests", "image", "benchmarks")) == []


def test_no_file_is_large_or_executable_by_mistake() -> None:
    large = [where(path) for path in tracked() if path.stat().st_size > 1_000_000]
    assert large == []
    plain = [where(p) for p in sources("node", "tests") if p.stat().st_mode & 0o111]
    assert plain == []
