"""`hedgerow lab`: start, describe, stop or destroy the lab."""

import os
import sys
from pathlib import Path

import click

from node.errors import NodeError
from node.lab import process, verbs
from node.lab.cluster import ClusterLab, alone, cluster_lab
from node.lab.facts import refresh
from node.lab.place import DEFAULT_DIRECTORY, Place
from node.lab.starting import ClusterStart, Start


@click.group(invoke_without_command=True)
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), default=DEFAULT_DIRECTORY,
              show_default=True, help="Directory of the lab and all its data.")  # fmt: skip
@click.option(
    "--nodes", type=click.IntRange(1, 200),
    help="Nodes of the lab, each on a machine of its own made of namespaces; 1 (the default): this machine itself.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(1, 65535), help="HTTPS port (default: 7443, or any that is free)."
)
@click.option(
    "--plain-port",
    type=click.IntRange(1, 65535),
    help="Plain HTTP port on loopback (default: 7480, or any).",
)
@click.option(
    "--disk-mib", type=click.IntRange(256), metavar="MIB",
    help="Give each node of a new lab a disk of this size and clocks of its own, for `hedgerow drill` to spoil.",
)  # fmt: skip
@click.option(
    "--no-server", is_flag=True, help="Make the cloud and its networks, but boot no first server."
)
@click.option("--facts", "action", flag_value="facts", help="Print lab.json.")
@click.option(
    "--stop", "action", flag_value="stop", help="Stop the nodes; their VMs and networks stay."
)
@click.option(
    "--destroy",
    "action",
    flag_value="destroy",
    help="Stop the nodes and remove all that they ever made.",
)
@click.option("--start", "action", flag_value="start", default=True, hidden=True)
@click.pass_context
def lab(
    context: click.Context, directory: Path, nodes: int | None, port: int | None, plain_port: int | None,
    disk_mib: int | None, no_server: bool, action: str,
) -> None:  # fmt: skip
    """Run a whole cloud on this machine. Repeating it is harmless."""
    if os.geteuid() != 0 and action != "facts":
        raise click.ClickException("The lab makes networks and VMs: run it as root (sudo)")
    place = Place(directory)
    context.obj = place
    if context.invoked_subcommand is not None:
        return
    try:
        if action == "facts":
            _facts(place)
        else:
            if action == "start":
                directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            with alone(place):
                if action == "stop":
                    _stop(place)
                elif action == "destroy":
                    _destroy(place)
                else:
                    _start(place, nodes, (port, plain_port), disk_mib, with_server=not no_server)
    except NodeError as error:
        raise click.ClickException(error.message) from error
    sys.exit(0)


for _verb in verbs.ALL:
    lab.add_command(_verb)


def _start(
    place: Place, nodes: int | None, ports: tuple[int | None, int | None], disk_mib: int | None,
    *, with_server: bool,
) -> None:  # fmt: skip
    chosen = place.chosen()
    several = bool(chosen.under_cidr) if chosen is not None else (nodes or 1) > 1
    if not several:
        if nodes is not None and nodes > 1:
            cluster_lab(place)  # says what to do instead
        if disk_mib:
            raise click.ClickException("A lab of one node is on the disk of this machine")
        Start(place, *ports, with_server=with_server).run()
        return
    found = ClusterLab(place, place.choose_several(*ports, disk_mib or 0))
    have = len(found.names)
    if disk_mib and disk_mib != found.choice.disk_mib:
        raise click.ClickException(
            f"The lab was begun with --disk-mib {found.choice.disk_mib}: that cannot be changed"
        )
    if nodes is not None and nodes < have:
        raise click.ClickException(
            f"The lab has {have} nodes: take one out with hedgerow lab --dir {place.directory} remove NODE"
        )
    found.grow((nodes or have) - have)
    ClusterStart(found, with_server=with_server).run()


def _facts(place: Place) -> None:
    if not place.facts.exists():
        raise click.ClickException(
            f"There is no running lab in {place.directory}: start one with scripts/lab"
        )
    click.echo(place.facts.read_text(), nl=False)


def _stop(place: Place) -> None:
    chosen = place.chosen()
    if chosen is not None and chosen.under_cidr:
        found = ClusterLab(place, chosen)
        stopped = found.stop(())
        refresh(found)
        click.echo(
            f"{len(stopped)} of {len(found.names)} nodes in {place.directory} have stopped, the others were not "
            "running; VMs and networks stay as they are."
        )
        return
    was = process.stop(place)
    outcome = "has stopped" if was else "was not running"
    click.echo(f"The node in {place.directory} {outcome}; VMs and networks stay as they are.")


def _destroy(place: Place) -> None:
    if not place.directory.exists():
        click.echo(f"There is no lab in {place.directory}.")
        return
    if not place.exists() and any(place.directory.iterdir()):
        raise click.ClickException(f"{place.directory} holds no lab, so nothing is removed")
    chosen = place.chosen()
    if chosen is not None and chosen.under_cidr:
        ClusterLab(place, chosen).destroy()
    else:
        process.stop(place)
        if place.exists() and place.state.exists():
            process.teardown(place)
    process.remove(place)
    click.echo(f"The lab in {place.directory} is gone.")
