"""Dependencies point one way (ARCHITECTURE, section 2)."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.meta.tree import REPO, imports, sources, where

PLUGINS = REPO / "node" / "plugins"

ONLY_IN = {
    "libvirt": "node/plugins/compute/",
    "libvirt_qemu": "node/plugins/compute/",
    "pyroute2": "node/plugins/network/",
    "falcon": "node/api/",
    "gunicorn": "node/api/",
    "pysyncobj": "node/cluster/",
    "zeroconf": "node/cluster/",
}
"""Libraries that one part of the product hides from all others."""


def test_the_contracts_of_import_linter_hold() -> None:
    code = "from importlinter.cli import lint_imports_command as command; command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-logo", "--no-cache"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def foreign(path: Path) -> list[str]:
    """Return imports of a plugin's file that are neither the SDK nor the plugin itself."""
    own = f"node.plugins.{path.relative_to(PLUGINS).parts[0].removesuffix('.py')}"
    return [
        f"{where(path, line)} imports {name}"
        for line, name in imports(path)
        if (name == "node" or name.startswith("node."))
        and not (name.startswith("node.sdk.") or name == "node.sdk")
        and not name.startswith(f"{own}.")
        and name != own
        and not name.startswith(f"node.plugins.{own.rpartition('.')[2]}")
    ]


def test_plugins_import_only_the_sdk_and_themselves() -> None:
    files = [path for path in sources("node/plugins") if path.parent != PLUGINS]
    assert files
    assert [line for path in files for line in foreign(path)] == []


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_each_library_has_one_home(library: str) -> None:
    found = [
        where(path, line)
        for path in sources("node")
        for line, name in imports(path)
        if name.partition(".")[0] == library
        and not where(path).startswith((ONLY_IN[library], "node/testing/"))
    ]
    assert found == []


CHANCE = {"time", "random", "uuid", "secrets"}


def test_time_and_chance_enter_the_state_machine_only_as_data() -> None:
    found = [
        f"{where(path, line)} imports {name}"
        for path in sources("node/state")
        for line, name in imports(path)
        if name.partition(".")[0] in CHANCE or name in {"datetime.datetime.now", "subprocess"}
    ]
    assert found == []


def test_relative_imports_and_stars_are_not_used() -> None:
    found = [
        where(path, line)
        for path in sources("node", "tests")
        for line, name in imports(path)
        if name.startswith("None.") or name.endswith(".*")
    ]
    assert found == []
