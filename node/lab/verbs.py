"""What `hedgerow lab` does to single nodes of a lab that has several."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from node.errors import NodeError, Unavailable
from node.lab.cluster import ClusterLab, alone, cluster_lab
from node.lab.facts import refresh
from node.lab.place import Place
from node.lab.topology import HOST

_node = click.argument("name", metavar="NODE")
_nodes = click.argument("names", metavar="[NODE]...", nargs=-1)
_some_nodes = click.argument("names", metavar="NODE...", nargs=-1, required=True)


@contextmanager
def _changing(place: Place) -> Iterator[ClusterLab]:
    """Open the lab for one change; lab.json follows it."""
    try:
        with alone(place):
            lab = cluster_lab(place)
            yield lab
            refresh(lab)
    except NodeError as error:
        raise click.ClickException(error.message) from error


@click.command()
@_some_nodes
@click.option("--vms", is_flag=True, help="With its VMs and networks, as when the power is cut.")
@click.pass_obj
def kill(place: Place, names: tuple[str, ...], vms: bool) -> None:
    """Kill nodes with SIGKILL: supervisor, core and API at once. Their VMs go on."""
    with _changing(place) as lab:
        for name in names:
            killed = lab.kill(name, with_vms=vms)
            what = f"{len(killed)} processes are killed" if killed else "the daemon was not running"
            click.echo(f"{name}: {what}" + (", its machine is off" if vms else ""))


@click.command()
@_nodes
@click.pass_obj
def stop(place: Place, names: tuple[str, ...]) -> None:
    """Stop nodes (all by default) cleanly. Their VMs and networks stay."""
    with _changing(place) as lab:
        stopped = lab.stop(names)
        for name in names or lab.names:
            click.echo(f"{name}: {'has stopped' if name in stopped else 'was not running'}")


@click.command()
@_nodes
@click.pass_obj
def start(place: Place, names: tuple[str, ...]) -> None:
    """Start nodes (all by default), with their machines where those are off, and wait for their API."""
    with _changing(place) as lab:
        lab.start(names)
        refresh(lab)
        lab.wait(names, click.echo)


@click.command()
@_some_nodes
@click.pass_obj
def pause(place: Place, names: tuple[str, ...]) -> None:
    """Let nodes hang (SIGSTOP) until `resume`."""
    _signal(place, names, signal.SIGSTOP, "hangs")


@click.command()
@_some_nodes
@click.pass_obj
def resume(place: Place, names: tuple[str, ...]) -> None:
    """Let paused nodes go on."""
    _signal(place, names, signal.SIGCONT, "goes on")


@click.command()
@_node
@click.option(
    "--from", "others", metavar="NODE", multiple=True,
    help=f"Cut it off from this node only (repeatable; `{HOST}` is who uses the lab); default: all nodes.",
)  # fmt: skip
@click.option("--incoming", "only", flag_value="incoming", help="Cut only what goes to it.")
@click.option("--outgoing", "only", flag_value="outgoing", help="Cut only what comes from it.")
@click.pass_obj
def partition(place: Place, name: str, others: tuple[str, ...], only: str | None) -> None:
    """Cut a node off from the others; `heal` joins it again."""
    with _changing(place) as lab:
        for one in (name, *others):
            if one != HOST:
                lab.topology.machine(one)
        chosen = others or tuple(one for one in lab.names if one != name)
        pairs = [(one, name) for one in chosen if only != "outgoing"]
        pairs += [(name, one) for one in chosen if only != "incoming"]
        lab.topology.cut(pairs)
        click.echo(f"cut: {_said(lab)}")


@click.command()
@_nodes
@click.pass_obj
def heal(place: Place, names: tuple[str, ...]) -> None:
    """Join what was cut off from nodes (all by default)."""
    with _changing(place) as lab:
        lab.topology.heal(names)
        click.echo(f"cut: {_said(lab)}")


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_node
@click.argument("words", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def shell(place: Place, name: str, words: tuple[str, ...]) -> None:
    """Run a command, or a shell, on a node's machine. `hedgerow` there speaks to that node."""
    try:
        lab = cluster_lab(place)
        argv = lab.topology.machine(name).entering(words or (os.environ.get("SHELL", "/bin/sh"),))
    except NodeError as error:
        raise click.ClickException(error.message) from error
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    environment = {"HEDGEROW_CONFIG": str(place.node(name).config), "PATH": path}
    os.execvpe(argv[0], argv, {**os.environ, **environment})  # noqa: S606 - no shell, and that is the point


@click.command()
@click.option("--nodes", "count", type=click.IntRange(1, 100), default=1, help="How many (1).")
@click.pass_obj
def add(place: Place, count: int) -> None:
    """Add nodes to the lab: they join its cluster by themselves."""
    with _changing(place) as lab:
        names = lab.grow(count)
        lab.start(names)
        lab.wait(names, click.echo)


@click.command()
@_node
@click.pass_obj
def remove(place: Place, name: str) -> None:
    """Take a node out of the lab, with its machine and all its data, as if it had burnt down."""
    with _changing(place) as lab:
        lab.topology.machine(name)
        if len(lab.names) == 1:
            raise Unavailable(
                "It is the last node of the lab: `hedgerow lab --destroy` removes all"
            )
        lab.remove(name)
        click.echo(f"{name} is gone")


ALL = (kill, stop, start, pause, resume, partition, heal, shell, add, remove)


def _signal(place: Place, names: tuple[str, ...], number: signal.Signals, what: str) -> None:
    with _changing(place) as lab:
        for name in names:
            told = lab.signal(name, number)
            click.echo(f"{name}: {f'{what} ({len(told)} processes)' if told else 'is not running'}")


def _said(lab: ClusterLab) -> str:
    return ", ".join(f"{source} to {target}" for source, target in lab.topology.cuts()) or "nothing"
