"""The administrator's socket answers, refuses and survives bad clients."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.errors import BadRequest, NotFound, Unavailable
from node.observe.admin import SOCKET_NAME, AdminServer, ask


def refuse() -> None:
    raise NotFound("There is no reconciler x; see hedgerow debug reconcilers")


def crash() -> None:
    raise RuntimeError("oh")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    # Deeper than a socket address can be long.
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    commands = {
        "echo": lambda text="": {"said": text},
        "big": lambda: "x" * 1_000_000,
        "refuse": refuse,
        "crash": crash,
    }
    server = AdminServer(deep, commands)
    server.start()
    yield deep
    server.stop()
    assert not (deep / SOCKET_NAME).exists()


def test_a_command_is_answered(directory: Path) -> None:
    assert ask(directory, "echo", text="hé") == {"said": "hé"}
    assert ask(directory, "big") == "x" * 1_000_000


def test_refusals_arrive_in_the_nodes_words(directory: Path) -> None:
    with pytest.raises(BadRequest, match="no reconciler x"):
        ask(directory, "refuse")
    with pytest.raises(BadRequest, match="RuntimeError: oh"):
        ask(directory, "crash")
    with pytest.raises(BadRequest, match="there are: big, crash, echo, refuse"):
        ask(directory, "nonsense")


def test_only_the_owner_may_open_it(directory: Path) -> None:
    assert stat.S_IMODE((directory / SOCKET_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("garbage", [b"", b"\n", b"{}\n", b"[1]\n", b"\xff\xfe\n", b"x" * 100_000])
def test_garbage_harms_nobody_else(
    directory: Path, garbage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(SOCKET_NAME)
        sock.sendall(garbage)
    assert ask(directory, "echo", text="still here") == {"said": "still here"}


def test_no_node_is_told_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="is it running"):
        ask(tmp_path, "echo")


def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / SOCKET_NAME))
    server = AdminServer(tmp_path, {"echo": lambda: 1})
    server.start()
    try:
        assert ask(tmp_path, "echo") == 1
    finally:
        server.stop()
