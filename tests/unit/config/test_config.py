"""The configuration file: typed, and a mistake in it is named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config import ApiSection, ClusterSection, LogSection, NodeSection, load
from node.errors import ConfigError
from node.types import Frozen


class BookSection(Frozen):
    pages: int = 10
    is_open: bool = True
    tags: str = ""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_without_a_file_everything_has_its_default() -> None:
    config = load(None)
    assert config.section(ApiSection) == ApiSection()
    assert config.section(NodeSection).region == "RegionOne"
    assert config.state_dir == Path("/var/lib/hedgerow")
    assert config.section(BookSection) == BookSection()  # a section that nobody registered


def test_values_are_typed(tmp_path: Path) -> None:
    text = "[api]\nport = 9443\nworkers=3\n[node]\nstate_dir = /x y/%(z)s\n[book]\nis_open = false\ntags = a=b # c\n"
    config = load(write(tmp_path / "h.ini", text), {"book": BookSection})
    assert config.section(ApiSection).port == 9443
    assert config.state_dir == Path("/x y/%(z)s")
    assert config.section(BookSection) == BookSection(is_open=False, tags="a=b # c")
    assert [name for name, _section in config.items()] == ["api", "book", "cluster", "log", "node"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[apy]\nport = 1\n", "apy"),
        ("[api]\nprot = 1\n", "prot"),
        ("[api]\nport = many\n", "[api]"),
        ("[api]\nport = 1\nport = 2\n", "port"),
        ("[api]\n[api]\n", "api"),
        ("port = 1\n", "header"),
        ("[api\n", "h.ini"),
        ("[api]\nport\n", "h.ini"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path / "h.ini", text))
    assert named in caught.value.message
    assert "h.ini" in caught.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", True), ("no", False), ("On", True), ("off", False), ("1", True), ("false", False)],
)
def test_what_ini_files_call_true_and_false_is_that(tmp_path: Path, text: str, value: bool) -> None:
    config = load(write(tmp_path / "h.ini", f"[cluster]\nalone = {text}\n"))
    assert config.section(ClusterSection).alone is value
    with pytest.raises(ConfigError, match="alone"):
        load(write(tmp_path / "h.ini", "[cluster]\nalone = perhaps\n"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        load(tmp_path / "absent.ini")
    (tmp_path / "binary.ini").write_bytes(b"\xff\xfe[api]")
    with pytest.raises(ConfigError, match="binary"):
        load(tmp_path / "binary.ini")


def test_sections_of_plugins_may_be_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "h.ini", "[book]\nanything = 1\n[log]\nlevel = DEBUG\n")
    assert load(path, others_allowed=True).section(LogSection).level == "DEBUG"
    with pytest.raises(ConfigError, match="book"):
        load(path)


@given(text=st.text(alphabet="[]=ap i\nport12:;#%", max_size=60))
def test_no_text_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = write(tmp_path_factory.getbasetemp() / "any.ini", text)
    try:
        config = load(path)
    except ConfigError:
        return
    assert isinstance(config.section(ApiSection).port, int)
