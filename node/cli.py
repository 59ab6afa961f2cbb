"""The command `hedgerow`.

Imports are late throughout: a command starts in a tenth of a second and pays for what it uses only.
"""

import importlib
import sys
from pathlib import Path

import click

import node

_LATE_COMMANDS = {"lab": ("node.lab.command", "lab")}
"""Commands that live in packages of their own: name to (module, attribute)."""


class _LateGroup(click.Group):
    """A group that imports some of its commands when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_LATE_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        late = _LATE_COMMANDS.get(cmd_name)
        if late is None:
            return super().get_command(ctx, cmd_name)
        command = getattr(importlib.import_module(late[0]), late[1])
        if not isinstance(command, click.Command):
            raise TypeError(f"{late[0]}.{late[1]} is not a command")
        return command


_config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="HEDGEROW_CONFIG",
    help="Configuration file (INI). Without one every key has its default.",
)


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Hedgerow: an OpenStack cloud in one daemon."""
    # A foreign distribution called `node` could lie in the same environment and shadow ours.
    if not hasattr(node, "__version__") or not Path(node.__file__ or "").with_name("cli.py").exists():
        click.echo("The Python package `node` is not Hedgerow's; use an environment of its own", err=True)
        sys.exit(2)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"hedgerow {node.__version__}")


@main.command()
@_config_option
def run(config_path: Path | None) -> None:
    """Run the node in the foreground until SIGTERM."""
    from node import daemon

    sys.exit(daemon.run(config_path))


@main.command()
@_config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of a table.")
def doctor(config_path: Path | None, as_json: bool) -> None:
    """Check this machine and say how to mend what is missing. Changes nothing."""
    import msgspec

    from node.config import load
    from node.doctor import examine, needs_of
    from node.doctor.machine import LocalMachine

    checks = examine(LocalMachine(), needs_of(load(config_path)))
    for check in checks:
        if as_json:
            click.echo(msgspec.json.encode(check))
            continue
        mark, colour = ("ok", "green") if check.ok else ("FAIL", "red") if check.is_needed else ("warn", "yellow")
        click.echo(f"{click.style(f'{mark:5}', fg=colour)} {check.name}: {check.detail}")
        if not check.ok:
            click.echo(f"      -> {check.mend}")
    missing = [check.name for check in checks if not check.ok and check.is_needed]
    if missing and not as_json:
        click.echo(f"\n{len(missing)} of {len(checks)} checks failed: {', '.join(missing)}")
    sys.exit(1 if missing else 0)


@main.group()
def debug() -> None:
    """Look inside a running node."""


if __name__ == "__main__":
    main()
