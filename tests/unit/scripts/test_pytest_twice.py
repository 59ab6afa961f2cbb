"""A test that fails is repeated once and named; one that fails twice fails the stage."""

import subprocess
import sys
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parents[3] / "scripts" / "lib"
UNSTEADY = """
from pathlib import Path
import pytest
@pytest.mark.parametrize("word", ["a b", "ü"])
def test_once(word):
    seen = Path(__file__).with_name(f"seen-{word}")
    before = seen.exists()
    seen.touch()
    assert before
"""


@pytest.mark.parametrize(
    ("text", "status", "unsteady"),
    [
        ("def test_fine(): pass", 0, 0),
        (UNSTEADY, 0, 2),
        ("def test_wrong(): assert False", 1, 0),
        (UNSTEADY + "def test_wrong(): assert False", 1, 0),
        (UNSTEADY.replace('["a b", "ü"]', "range(4)"), 1, 0),
        ("import nothing_of_the_kind", 2, 0),
    ],
)
def test_repeated_once(tmp_path: Path, text: str, status: int, unsteady: int) -> None:
    (tmp_path / "test_it.py").write_text(text)
    script = f'. {LIB}/output.bash; . {LIB}/pytest.bash; cd {tmp_path}; '
    script += f'pytest_twice {sys.executable} -p no:xdist test_it.py'
    script += '; status=$?; for name in "${UNSTEADY[@]}"; do echo "unsteady: $name"; done; exit $status'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout.count("unsteady: ") == unsteady, done.stdout
