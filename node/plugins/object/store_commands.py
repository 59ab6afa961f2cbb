"""`hedgerow object`: the object store of this node, by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from node.plugins.object.store.local_access import SocketBackend
from node.plugins.object.store.map_file import SOCKET_FILE, store_directory
from node.plugins.object.store.section import ObjectSection
from node.plugins.object.store.wire import AskRequest
from node.plugins.object.store_status import report
from node.plugins.object.tables import DataDisk
from node.sdk import AnyOp, NodeError, NotFound, Operator, check, operator, patch

_config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="HEDGEROW_CONFIG",
    help="The node's configuration file.",
)


@click.group("object")
def object_group() -> None:
    """The object store of this node."""


def _ask(by: Operator, question: str, argument: Any = None) -> Any:
    backend = SocketBackend(store_directory(by.config.state_dir) / SOCKET_FILE)
    return backend.ask(AskRequest(disk_id="", question=question, argument=argument))


def _with(config_path: Path | None, call: Callable[[Operator], None]) -> None:
    try:
        call(operator(config_path, {"object": ObjectSection}))
    except NodeError as error:
        raise click.ClickException(error.message) from error


@object_group.command()
@_config_option
def status(config_path: Path | None) -> None:
    """Show disks, policies, and what healing does."""

    def show(by: Operator) -> None:
        for line in report(_ask(by, "hello"), by.db):
            click.echo(line)

    _with(config_path, show)


@object_group.command()
@_config_option
@click.argument("task")
def pause(config_path: Path | None, task: str) -> None:
    """Pause TASK (follow, sweep, litter, repair, scrub) on this node until its store process is restarted."""
    _with(config_path, lambda by: _ask(by, "pause", task))
    click.echo(f"{task} is paused.")


@object_group.command()
@_config_option
@click.argument("task")
def resume(config_path: Path | None, task: str) -> None:
    """Let TASK go on."""
    _with(config_path, lambda by: _ask(by, "resume", task))
    click.echo(f"{task} goes on.")


@object_group.command("run")
@_config_option
@click.argument("task")
def run_now(config_path: Path | None, task: str) -> None:
    """Have TASK run now."""
    _with(config_path, lambda by: _ask(by, "run", task))
    click.echo(f"{task} is asked to run.")


@object_group.command()
@_config_option
@click.argument("disk_id")
@click.argument("weight", type=click.FloatRange(min=0.0))
def weigh(config_path: Path | None, disk_id: str, weight: float) -> None:
    """Give a disk a share of the data: WEIGHT beside those of the others; 0 drains it."""

    def change(by: Operator) -> None:
        def plan() -> list[AnyOp]:
            disk = by.db.get(DataDisk, disk_id)
            if disk is None:
                raise NotFound(f"There is no disk {disk_id}: `hedgerow object status` lists them")
            return [check(disk), patch(DataDisk, disk.id, weight=weight)]

        by.transact(plan)

    _with(config_path, change)
    click.echo(f"Disk {disk_id} has the weight {weight:g}.")
