"""`scripts/test` runs every test there is."""

import subprocess

from tests.meta.tree import REPO, tracked

OUTPUT = subprocess.run(
    [REPO / "scripts" / "test", "--list"], capture_output=True, text=True, check=True
).stdout.split()
STAGED = dict(zip(OUTPUT[1::2], OUTPUT[0::2], strict=True))


def test_every_directory_with_tests_is_in_exactly_one_stage() -> None:
    holding = {
        str(path.relative_to(REPO).parent).split("/")[1]
        for path in tracked("tests/**/test_*.py")
        if path.relative_to(REPO).parent.name != "tests"
    }
    assert {f"tests/{name}" for name in holding} == set(STAGED)
    assert len(OUTPUT) == 2 * len(STAGED)


def test_no_test_lies_outside_the_directories() -> None:
    assert [path.name for path in (REPO / "tests").glob("test_*.py")] == []
    named = [p.name for p in tracked("tests/**/*_test.py")]
    assert named == [], "pytest looks for test_*.py"


def test_what_touches_the_machine_runs_one_at_a_time() -> None:
    for name in ("netns", "block", "vm", "probe"):
        if f"tests/{name}" in STAGED:
            assert STAGED[f"tests/{name}"] == "serial"


def test_ci_runs_what_a_person_runs() -> None:
    assert "exec scripts/test\n" in (REPO / ".ci" / "run").read_text()
