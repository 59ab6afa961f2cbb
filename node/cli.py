"""The command `hedgerow`.

Imports are late throughout: a command starts in a tenth of a second and pays for what it uses only.
"""

import contextlib
import importlib
import os
import sys
from pathlib import Path

import click

import node
from node.commands.asking import as_json as _json
from node.commands.asking import ask_node as _ask
from node.commands.asking import config_option as _config_option
from node.commands.asking import usual as _usual

LATE_COMMANDS = {
    "cluster": ("node.commands.cluster", "cluster"),
    "drill": ("node.drill.command", "drill"),
    "lab": ("node.lab.command", "lab"),
    "node": ("node.commands.member", "member"),
    "token": ("node.commands.token", "token"),
    "witness": ("node.commands.witness", "witness"),
}
"""Commands that live in packages of their own: name to (module, attribute)."""


class _LateGroup(click.Group):
    """A group that imports some of its commands when they are called."""

    _plugins_of: str | None = None
    """The configuration whose plugins' commands are here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from node.errors import NodeError

        with contextlib.suppress(NodeError):  # help is there also where the configuration is broken
            self._load_plugins()
        return sorted({*super().list_commands(ctx), *LATE_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        late = LATE_COMMANDS.get(cmd_name)
        if late is None:
            found = super().get_command(ctx, cmd_name)
            if found is None:
                self._load_plugins()
                found = super().get_command(ctx, cmd_name)
            return found
        command = getattr(importlib.import_module(late[0]), late[1])
        if not isinstance(command, click.Command):
            raise TypeError(f"{late[0]}.{late[1]} is not a command")
        return command

    def _load_plugins(self) -> None:
        """Take the plugins' commands, which is slow: only for help, and for a command that nothing else knows."""
        path = os.environ.get("HEDGEROW_CONFIG", "")
        if self._plugins_of == path:
            return
        self._plugins_of = path
        from node.config import NodeSection, load
        from node.pluginhost import PluginHost

        section = load(Path(path) if path else None, others_allowed=True).section(NodeSection)
        host = PluginHost()
        host.load(directory=Path(section.plugin_dir) if section.plugin_dir else None)
        host.hook.cli(group=self)


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Hedgerow: an OpenStack cloud in one daemon."""
    # A foreign distribution called `node` could lie in the same environment and shadow ours.
    if (
        not hasattr(node, "__version__")
        or not Path(node.__file__ or "").with_name("cli.py").exists()
    ):
        click.echo(
            "The Python package `node` is not Hedgerow's; use an environment of its own", err=True
        )
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

    daemon.run(config_path)


@main.command()
@_config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of a table.")
def doctor(config_path: Path | None, as_json: bool) -> None:
    """Check this machine and say how to mend what is missing. Changes nothing."""
    import msgspec

    from node.config import load
    from node.doctor import examine, needs_of
    from node.doctor.machine import LocalMachine
    from node.errors import NodeError
    from node.observe.admin import ask

    config = load(_usual(config_path), others_allowed=True)
    try:
        ask(config.state_dir, "status")
        is_running = True
    except NodeError:
        is_running = False
    checks = examine(LocalMachine(), needs_of(config, is_running=is_running))
    for check in checks:
        if as_json:
            click.echo(msgspec.json.encode(check))
            continue
        click.echo(f"{_mark(check.ok, check.is_needed)} {check.name}: {check.detail}")
        if not check.ok:
            click.echo(f"      -> {check.mend}")
    missing = [check.name for check in checks if not check.ok and check.is_needed]
    if missing and not as_json:
        click.echo(f"\n{len(missing)} of {len(checks)} checks failed: {', '.join(missing)}")
    sys.exit(1 if missing else 0)


@main.command()
@_config_option
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def status(config_path: Path | None, as_json: bool) -> None:
    """Say how the running node is: its parts, its plugins, what is wrong and what happens next."""
    found = _ask(config_path, "status")
    if as_json:
        click.echo(_json(found))
        return
    for name, value in found.items():
        if not isinstance(value, list):
            click.echo(f"{name}: {value}")
    for entry in found.get("health", []):
        click.echo(f"{_mark(entry['ok'])} {entry['name']}: {entry['detail']}")
    for plugin in found.get("plugins", []):
        detail = (
            f"{plugin['source']}: {plugin['error']}"
            if plugin["error"]
            else f"from {plugin['source']}"
        )
        click.echo(f"{_mark(not plugin['error'])} plugin {plugin['name']}: {detail}")
    if not all(entry["ok"] for entry in found.get("health", [])):
        sys.exit(1)


@main.group()
def debug() -> None:
    """Look inside a running node."""


@debug.command()
@_config_option
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@click.option("--pause", metavar="NAME", help="Stop this reconciler from acting.")
@click.option("--resume", metavar="NAME", help="Let it act again.")
def reconcilers(
    config_path: Path | None, as_json: bool, pause: str | None, resume: str | None
) -> None:
    """List reconcilers: what waits, what runs, what failed and when it is tried again."""
    if pause:
        _ask(config_path, "pause", name=pause)
    if resume:
        _ask(config_path, "resume", name=resume)
    found = _ask(config_path, "reconcilers")
    if as_json:
        click.echo(_json(found))
        return
    click.echo(
        f"{'reconciler':24} {'state':9} {'ready':>6} {'delayed':>8} {'running':>8} {'looks':>8}"
    )
    for entry in found:
        state = "paused" if entry["paused"] else "started" if entry["started"] else "starting"
        click.echo(
            f"{entry['name']:24} {state:9} {entry['ready']:6} {entry['delayed']:8} "
            f"{len(entry['running']):8} {entry['looks']:8}"
        )
        for failure in entry["failures"]:
            click.echo(
                f"  {failure['key']}: failed {failure['attempts']} times: {failure['error']}"
            )


@debug.command()
@_config_option
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a listing.")
def world(config_path: Path | None, as_json: bool) -> None:
    """List what this node made of its machine: domains, bridges, namespaces, rules."""
    found = _ask(config_path, "world")
    if as_json:
        click.echo(_json(found))
        return
    for kind, things in found.items():
        click.echo(f"{kind}: {len(things)}")
        for thing in things:
            click.echo(f"  {thing}")


@debug.command()
@_config_option
def metrics(config_path: Path | None) -> None:
    """Print the node's gauges in Prometheus' text format (for node_exporter's textfile collector)."""
    click.echo(_ask(config_path, "metrics"), nl=False)


def _mark(ok: bool, is_needed: bool = True) -> str:  # noqa: FBT002
    if ok:
        return click.style("ok   ", fg="green")
    return click.style("FAIL ", fg="red") if is_needed else click.style("warn ", fg="yellow")


if __name__ == "__main__":
    main()
