"""Small files, small functions, names that say something (ARCHITECTURE, section 6, rule 1)."""

import ast
from pathlib import Path

import pytest

from tests.meta.tree import REPO, functions, sources, tracked, where

FILE_CAP = 500
TEST_FILE_CAP = 800
FUNCTION_CAP = 60
TEST_FUNCTION_CAP = 100
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base"}


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize(
    ("roots", "cap"),
    [(("node", "image", "benchmarks", "examples"), FILE_CAP), (("tests",), TEST_FILE_CAP)],
    ids=["product", "tests"],
)
def test_no_file_is_over_its_cap(roots: tuple[str, ...], cap: int) -> None:
    sized = {where(path): lines(path) for path in sources(*roots)}
    assert sized, f"no Python files under {roots}"
    assert {path: count for path, count in sized.items() if count > cap} == {}


def test_no_script_is_over_the_cap() -> None:
    scripts = [p for p in tracked("scripts", "image", ".ci") if p.read_bytes().startswith(b"#!")]
    assert scripts
    assert {where(p): lines(p) for p in scripts if lines(p) > FILE_CAP} == {}


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


@pytest.mark.parametrize(
    ("root", "cap"),
    [("node", FUNCTION_CAP), ("tests", TEST_FUNCTION_CAP)],
    ids=["product", "tests"],
)
def test_every_function_fits_a_screen(root: str, cap: int) -> None:
    long = {
        f"{where(path, function.lineno)} {function.name}": length(function)
        for path in sources(root)
        for function in functions(path)
        if length(function) > cap
    }
    assert long == {}


def test_names_say_something() -> None:
    named = [p for p in sources("node", "tests", "image") if {*p.parts[:-1], p.stem} & VAGUE]
    assert [where(path) for path in named if not VAGUE & set(REPO.parts)] == []
