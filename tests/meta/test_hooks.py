"""The hook page: documented, used, implemented, and short enough to read."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from node import hookspecs
from tests.meta.tree import sources, where

MOST_HOOKS = 20
HOOKS: dict[str, Callable[..., Any]] = {
    name: function
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction)
    if hasattr(function, f"{hookspecs.PROJECT}_spec")
}


def test_there_are_hooks_but_not_too_many() -> None:
    assert 0 < len(HOOKS) <= MOST_HOOKS


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_a_hook_is_documented_and_annotated(name: str) -> None:
    text = inspect.getdoc(HOOKS[name]) or ""
    assert len(text.split()) >= 4, f"say what {name} is for"
    signature = inspect.signature(HOOKS[name])
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_a_hook_is_called_by_somebody(name: str) -> None:
    called = re.compile(
        rf"\bhook\.{name}\(|\bhook\(\)\.{name}\(|gather\(\s*\"{name}\"|\bhook\.{name}\b"
    )
    users = [
        where(path)
        for path in sources("node")
        if where(path) != "node/hookspecs.py" and called.search(path.read_text())
    ]
    assert users, f"nothing calls {name}: call it or take it from the page"
