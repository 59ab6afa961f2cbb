"""Documents say what the code says."""

import ast
import importlib
import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import click
import pytest

from node import cli, hookspecs
from node.config import BUILTIN_SECTIONS
from node.pluginhost import PluginHost
from tests.meta.tree import REPO, tracked, where


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", REPO / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


@pytest.mark.parametrize("path", sorted(GENERATOR.documents()))
def test_a_generated_document_is_in_step(path: str) -> None:
    made = GENERATOR.documents()[path]()
    assert (REPO / path).read_text() == made, (
        "run: python docs/generate.py, and commit what it wrote"
    )


def test_every_configuration_key_is_documented() -> None:
    host = PluginHost()
    host.load()
    for name, section in {**BUILTIN_SECTIONS, **host.sections()}.items():
        documents = GENERATOR.field_documents(section)
        missing = [key for key in section.__struct_fields__ if not documents.get(key)]
        assert missing == [], f"[{name}]: write a line below each of these"


def test_every_hook_is_on_the_page() -> None:
    page = (REPO / "docs" / "hooks.md").read_text()
    for name in dir(hookspecs):
        if hasattr(getattr(hookspecs, name), f"{hookspecs.PROJECT}_spec"):
            assert f"* `{name}(" in page


def test_every_feature_has_its_tests() -> None:
    entries = tomllib.loads((REPO / "docs" / "features.toml").read_text())["feature"]
    for entry in entries:
        assert entry["tests"], entry["what"]
        for path in entry["tests"]:
            place = REPO / path
            files = [place] if place.is_file() else list(place.rglob("test_*.py"))
            assert any("def test_" in file.read_text() for file in files), f"{path} holds no test"


LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
MENTION = re.compile(r"`((?:node|tests|scripts|docs|image|benchmarks|examples)/[\w./-]*\w)`")


@pytest.mark.parametrize("path", tracked("*.md", "docs/**/*.md"), ids=where)
def test_what_a_document_points_at_exists(path: Path) -> None:
    text = path.read_text()
    gone = [link for link in LINK.findall(text) if not (path.parent / link).exists()]
    if "adr" not in path.parts:
        gone += [
            name
            for name in MENTION.findall(text)
            if not (REPO / name).exists() and "NNNN" not in name
        ]
    assert gone == []


COMMAND = re.compile(r"(?:^|`)(?:\S*/)?hedgerow ((?:[a-z]+ ?)+)", re.MULTILINE)


def test_commands_in_documents_exist() -> None:
    for path in tracked("*.md", "docs/**/*.md"):
        for words in COMMAND.findall(path.read_text()):
            name = words.split()[0]
            known = cli.main.list_commands(click.Context(cli.main))  # with those of plugins
            assert name in known, f"{where(path)}: hedgerow has no command {name}"


BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", tracked("*.md", "docs/**/*.md"), ids=where)
def test_code_in_a_document_is_python_and_imports_what_exists(path: Path) -> None:
    for block in BLOCK.findall(path.read_text()):
        for found in ast.walk(ast.parse(block)):
            if isinstance(found, ast.ImportFrom) and (found.module or "").startswith("node"):
                module = importlib.import_module(found.module or "")
                gone = [alias.name for alias in found.names if not hasattr(module, alias.name)]
                assert gone == [], f"{found.module} has no {gone}"


def test_decision_records_are_numbered_and_short() -> None:
    records = sorted(path.name for path in (REPO / "docs" / "adr").glob("*.md"))
    assert [name[:4] for name in records] == [f"{n:04}" for n in range(1, len(records) + 1)]
    long = [
        p.name for p in (REPO / "docs" / "adr").glob("*.md") if len(p.read_text().splitlines()) > 70
    ]
    assert long == []
