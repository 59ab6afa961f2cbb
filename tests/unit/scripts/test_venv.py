"""The bash that makes the Python environment: once a lock, whole or not at all, one at a time."""

import subprocess
import time
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parents[3] / "scripts" / "lib"

STUB = """
. "$LIB/output.bash"; . "$LIB/packages.bash"; . "$LIB/venv.bash"
PYTHON=$STUBS/python
_venv_pip() {
  local home=$1; shift
  echo "begin $home $*" >>"$STUBS/calls"
  sleep "${PIP_TAKES:-0}"
  case " $* " in *"$PIP_FAILS"*) die "pip could not install";; esac
  echo "end $home $*" >>"$STUBS/calls"
}
venv_ensure "$STUBS/repo" "$STUBS/venv" "$STUBS/one.lock" "$STUBS/two.lock"
echo done
"""


class Place:
    """A repository, two locks and a pip that only writes down its calls."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "repo").mkdir()
        (root / "repo" / "pyproject.toml").write_text(
            '[build-system]\n[project]\nname = "x"\n# ------\n'
        )
        (root / "one.lock").write_text("a==1\n")
        (root / "two.lock").write_text("b==1\n")
        python = root / "python"
        python.write_text('#!/bin/sh\n[ "$1" = -V ] && { echo Python 3; exit; }\nmkdir -p "$3"\n')
        python.chmod(0o755)

    def start(self, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", STUB],
            env={
                "PATH": "/usr/bin:/bin",
                "LIB": str(LIB),
                "STUBS": str(self.root),
                "PIP_FAILS": "nothing",
                **env,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ensure(self, **env: str) -> int:
        process = self.start(**env)
        process.communicate(timeout=30)
        return process.returncode

    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def current(self) -> Path:
        return (self.root / "venv").resolve()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_it_is_made_once(place: Place) -> None:
    assert place.ensure() == 0
    assert len(place.calls()) == 6  # two locks and the product, each begun and ended
    assert place.ensure() == 0
    assert len(place.calls()) == 6


def test_a_changed_lock_makes_a_new_one_and_keeps_the_one_before(place: Place) -> None:
    seen = []
    for version in (1, 2, 3):
        (place.root / "two.lock").write_text(f"b=={version}\n")
        assert place.ensure() == 0
        seen.append(place.current())
    assert len(set(seen)) == 3
    kept = {path for path in (place.root / "venv.d").iterdir() if path.is_dir()}
    assert seen[2] in kept
    assert len(kept) == 2


def test_changed_metadata_links_the_product_again_and_nothing_else(place: Place) -> None:
    place.ensure()
    home = place.current()
    with (place.root / "repo" / "pyproject.toml").open("r+") as file:
        text = file.read().replace('"x"', '"y"')
        file.seek(0)
        file.write(text)
    place.ensure()
    assert place.current() == home
    assert [line for line in place.calls()[6:] if line.startswith("end")] == [
        f"end {home} --no-deps --no-build-isolation -e {place.root}/repo"
    ]


def test_a_broken_off_installation_is_never_used(place: Place) -> None:
    place.ensure()
    good = place.current()
    (place.root / "two.lock").write_text("b==2\n")
    assert place.ensure(PIP_FAILS="two.lock") == 1
    assert place.current() == good
    assert place.ensure() == 0
    assert place.current() != good


def test_two_at_once_take_turns(place: Place) -> None:
    first = place.start(PIP_TAKES="0.3")
    deadline = time.monotonic() + 10
    while not place.calls() and time.monotonic() < deadline:
        time.sleep(0.01)
    second = place.start()
    assert "waiting for another" in second.communicate(timeout=30)[0]
    first.communicate(timeout=30)
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(place.calls()) == 6


def test_an_environment_of_somebody_else_is_left_alone(place: Place) -> None:
    (place.root / "venv").mkdir()
    assert place.ensure() == 0
    assert place.calls() == []
