"""The bash that installs: which packages, and backports from the machine's own sources."""

import subprocess
import textwrap
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
LIB = REPO / "scripts" / "lib"
KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


def bash(
    code: str, *arguments: str, stdin: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    sourced = " ".join(
        f". {LIB}/{name}.bash;" for name in ("output", "packages", "backports", "venv")
    )
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; {sourced} {code}", "bash", *arguments],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **env},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def backports(apt: Path, codename: str = "bookworm") -> str | None:
    done = bash('backports_source "$1"', codename, APT_DIR=str(apt))
    return done.stdout if done.returncode == 0 else None


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def write(apt: Path, name: str, text: str) -> None:
    (apt / name).write_text(textwrap.dedent(text))


def test_a_deb822_source_gives_its_mirror_and_key(apt: Path) -> None:
    write(
        apt,
        "sources.list.d/debian.sources",
        """\
        # the machine's own
        Types: deb deb-src
        # why this mirror
        URIs: http://mirror.example/debian http://second.example/debian
        Suites: bookworm bookworm-updates
        Components: main contrib
        Signed-By: /usr/share/keyrings/k.gpg

        Types: deb
        URIs: http://mirror.example/debian-security
        Suites: bookworm-security
        Components: main
        """,
    )
    assert backports(apt) == textwrap.dedent(
        """\
        Types: deb
        URIs: http://mirror.example/debian
        Suites: bookworm-backports
        Components: main
        Signed-By: /usr/share/keyrings/k.gpg
        """
    )


def test_a_key_within_the_source_is_kept_whole(apt: Path) -> None:
    write(
        apt,
        "sources.list.d/debian.sources",
        f"""\
        Types: deb
        URIs: http://mirror.example/debian
        Suites: bookworm
        Components: main
        Signed-By:
         {KEY}
         .
         mQINBF
        """,
    )
    found = backports(apt)
    assert found is not None
    assert found.endswith(f"Signed-By:\n {KEY}\n .\n mQINBF\n")


@pytest.mark.parametrize(
    ("line", "uri", "signed"),
    [
        ("deb http://m.example/debian bookworm main", "http://m.example/debian", ""),
        (
            "deb  [arch=amd64 signed-by=/k.gpg]  http://m.example/d/ bookworm main",
            "http://m.example/d/",
            "/k.gpg",
        ),
        (
            "deb mirror+file:/etc/apt/mirrors.list bookworm main # cloud",
            "mirror+file:/etc/apt/mirrors.list",
            "",
        ),
    ],
)
def test_a_one_line_source_does_too(apt: Path, line: str, uri: str, signed: str) -> None:
    write(
        apt,
        "sources.list",
        f"# deb http://old.example/ bookworm main\ndeb-src http://s.example/ bookworm main\n{line}\n",
    )
    found = backports(apt)
    assert found is not None
    assert f"URIs: {uri}\n" in found
    assert (f"Signed-By: {signed}\n" in found) is bool(signed)


def test_sources_of_others_are_passed_over(apt: Path) -> None:
    write(
        apt,
        "sources.list.d/a.sources",
        """\
        Types: deb
        URIs: http://off.example/
        Suites: bookworm
        Components: main
        Enabled: no

        Types: deb-src
        URIs: http://src.example/
        Suites: bookworm
        Components: main

        Types: deb
        URIs: http://other.example/
        Suites: stable
        Components: main
        """,
    )
    assert backports(apt) is None
    write(apt, "sources.list.d/z.list", "deb http://right.example/ bookworm main\n")
    assert "right.example" in (backports(apt) or "")


def test_a_list_is_read_with_its_conditions(tmp_path: Path) -> None:
    arch = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    listed = tmp_path / "packages"
    listed.write_text(
        f"# comment\n\nalpha   # why\nbeta arch={arch} min=1:10\ngamma arch=none\ndelta release=none\nalpha min=3\n"
    )
    done = bash('packages_wanted "$1"', str(listed))
    assert done.stdout == "alpha -\nbeta 1:10\n"


def test_only_what_is_absent_or_too_old_is_missing() -> None:
    wanted = "dpkg -\nno-such-package -\nbash 0.1\ncoreutils 99:1\n"
    done = bash("packages_missing", stdin=wanted)
    assert done.stdout == "no-such-package -\ncoreutils 99:1\n"


def test_nothing_is_asked_of_apt_when_nothing_is_missing(tmp_path: Path) -> None:
    listed = tmp_path / "packages"
    listed.write_text("dpkg\nbash min=0.1\n")
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name in ("apt-get", "apt-cache"):
        (bin_dir / name).write_text("#!/bin/sh\necho called >&2; exit 9\n")
        (bin_dir / name).chmod(0o755)
    done = bash('PATH="$2:$PATH"; packages_ensure "$1"', str(listed), str(bin_dir))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_failing_apt_is_told_with_what_to_do(tmp_path: Path) -> None:
    listed = tmp_path / "packages"
    listed.write_text("no-such-package\n")
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "apt-get").write_text("#!/bin/sh\necho 'E: Unable to locate package'; exit 100\n")
    (bin_dir / "apt-get").chmod(0o755)
    done = bash(
        'PATH="$2:$PATH"; packages_ensure "$1"',
        str(listed),
        str(bin_dir),
        HEDGEROW_LOG_DIR=str(tmp_path),
    )
    assert done.returncode == 1
    assert "E: Unable to locate package" in done.stderr
    assert "dpkg --configure -a" in done.stderr
    assert str(tmp_path / "apt.log") in done.stderr


@pytest.mark.parametrize(
    "path",
    sorted((*LIB.glob("*.bash"), *(REPO / "scripts").glob("l*[a-z]"), REPO / "scripts/test")),
)
def test_every_script_parses(path: Path) -> None:
    if path.is_file():
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


def test_help_and_facts_need_neither_root_nor_an_installation(tmp_path: Path) -> None:
    def lab(argument: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [REPO / "scripts" / "lab", argument],
            env={"PATH": "/usr/bin:/bin", "HEDGEROW_VENV": str(tmp_path / "none")},
            capture_output=True,
            text=True,
            check=False,
        )

    assert "sudo scripts/lab" in lab("--help").stdout
    facts = lab("--facts")
    assert facts.returncode == 1
    assert "No lab was ever started here" in facts.stderr
    assert not (tmp_path / "none").exists()
