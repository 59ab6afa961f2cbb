"""What commands share that ask the running node: its configuration, its socket, and the two ways to print."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="HEDGEROW_CONFIG",
    help="Configuration file (INI). Without one every key has its default.",
)
format_option: Callable[..., Any] = click.option(
    "-f", "--format", "form", type=click.Choice(["table", "json"]), default="table",
    help="How to print.",
)  # fmt: skip


def usual(config_path: Path | None) -> Path | None:
    """Return the given configuration, or the one that lies where it usually does."""
    from node.config import usual_config

    return usual_config(config_path)


def ask_node(config_path: Path | None, command: str, **arguments: object) -> Any:
    """Ask the running node; what it refuses becomes the command's error."""
    from node.config import load
    from node.errors import NodeError
    from node.observe.admin import ask

    try:
        state_dir = load(usual(config_path), others_allowed=True).state_dir
        return ask(state_dir, command, **arguments)
    except NodeError as error:
        raise click.ClickException(error.message) from error


def as_json(value: object) -> str:
    """Return indented JSON."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value)).decode()


def show_list(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: str) -> None:
    """Print rows as JSON, or some of their fields as a table."""
    if form == "json":
        click.echo(as_json(rows))
        return
    cells = [[_text(row.get(name)) for name in columns] for row in rows]
    widths = [
        max(len(name), *(len(row[at]) for row in cells)) if cells else len(name)
        for at, name in enumerate(columns)
    ]
    for line in ([name.replace("_", " ") for name in columns], *cells):
        click.echo(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )


def show_one(row: Mapping[str, Any], form: str) -> None:
    """Print one thing as JSON, or a line a field."""
    if form == "json":
        click.echo(as_json(row))
        return
    width = max(map(len, row), default=0)
    for name, value in row.items():
        click.echo(f"{name.replace('_', ' ').ljust(width)}  {_text(value)}".rstrip())


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_text(inner)}" for key, inner in sorted(value.items()))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
