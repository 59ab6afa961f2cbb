"""The project's files as the meta-tests see them."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


@cache
def tracked(*patterns: str) -> tuple[Path, ...]:
    """Return the files that git tracks or would (ignored ones left out), by pathspec."""
    listed = subprocess.run(
        [
            *("git", "-c", f"safe.directory={REPO}", "ls-files", "-z"),
            *("--cached", "--others", "--exclude-standard", "--", *patterns),
        ],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    return tuple(sorted({REPO / name for name in listed if name and (REPO / name).is_file()}))


def sources(*roots: str) -> tuple[Path, ...]:
    """Return the Python files below these folders."""
    return tracked(*(f"{root}/**/*.py" for root in roots), *(f"{root}/*.py" for root in roots))


@cache
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(), str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a file, nested ones too."""
    for found in ast.walk(parse(path)):
        if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
            yield found


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything that a file imports at run time, however late.

    What stands under `if TYPE_CHECKING:` is left out. `from a import b` is named `a.b`.
    """
    stack: list[ast.AST] = [parse(path)]
    while stack:
        found = stack.pop()
        match found:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                stack.extend(found.orelse)
                continue
            case ast.Import():
                yield from ((found.lineno, alias.name) for alias in found.names)
            case ast.ImportFrom():
                yield from ((found.lineno, f"{found.module}.{alias.name}") for alias in found.names)
        stack.extend(ast.iter_child_nodes(found))


def where(path: Path, line: int = 0) -> str:
    """Return a path as people write it, with its line."""
    return f"{path.relative_to(REPO)}:{line}" if line else str(path.relative_to(REPO))
