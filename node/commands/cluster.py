"""`hedgerow cluster`: export and restore all rows, and go on after the majority of the voters is lost."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import click

from node.commands.asking import as_json, config_option, usual

_yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group()
def cluster() -> None:
    """Export and restore the cluster's rows, and recover from a lost majority."""


@cluster.command()
@config_option
def inspect(config_path: Path | None) -> None:
    """Say how far this node is, which must not run: recover on the one with the highest term and index."""
    from node.cluster import recover as offline

    with _stopped(config_path) as directory:
        click.echo(as_json(offline.standpoint(directory)))


@cluster.command()
@config_option
@_yes_option
def recover(config_path: Path | None, *, yes: bool) -> None:
    """Go on with this node alone after the majority of the voters is lost for good. It must not run.

    Nodes that come back later give up what they hold and follow this one: what they had agreed on without it is lost.
    """
    from node.clock import SystemClock
    from node.cluster import recover as offline
    from node.ids import RandomIds

    with _stopped(config_path) as directory:
        found = offline.standpoint(directory)
        click.echo(f"node {found.node_id}: term {found.last_term}, entry {found.last_index}")
        click.echo(f"voters: {', '.join(sorted(found.voters))}")
        _sure("Are the other voters lost, and is no survivor further than this one?", yes=yes)
        made = offline.recover(directory, SystemClock(), RandomIds())
    click.echo(
        f"The cluster goes on from entry {made.last_index} with this node as its only voter."
    )
    click.echo("Start it; start those that come back whenever you like: they follow it.")


@cluster.command()
@config_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(config_path: Path | None, file: Path) -> None:
    """Write all rows to a new FILE, which holds secrets. The node may run. Images and disks are not in it."""
    from node.cluster import recover as offline
    from node.config import load
    from node.errors import NodeError

    try:
        directory = load(usual(config_path), others_allowed=True).state_dir
        index = offline.export(directory, file)
    except NodeError as error:
        raise click.ClickException(error.message) from error
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from error
    click.echo(f"{file}: the rows at entry {index}, {file.stat().st_size} bytes")


@cluster.command()
@config_option
@_yes_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def restore(config_path: Path | None, *, yes: bool, file: Path) -> None:
    """Begin anew with the rows of an exported FILE and this node as the only voter. It must not run.

    What this node held is lost. Other nodes that come back give up what they hold and follow this one.
    """
    from node.clock import SystemClock
    from node.cluster import recover as offline
    from node.cluster.founding import authority_of
    from node.cluster.server_files import TLS_DIRECTORY
    from node.cluster.trust import Trust, api_names
    from node.config import NodeSection, load
    from node.control.placement import NodeRow
    from node.core import identity
    from node.ids import RandomIds
    from node.state.reader import STATE_FILE, Reader

    with _stopped(config_path) as directory:
        _sure(f"Replace all that {directory} holds by {file}?", yes=yes)
        clock, ids = SystemClock(), RandomIds()
        config = load(usual(config_path), others_allowed=True)
        node_id = identity(directory, ids).node_id
        trust = Trust(directory / TLS_DIRECTORY, node_id, clock)
        member = NodeRow(
            id=node_id,
            name=config.section(NodeSection).name or socket.gethostname(),
            fingerprint=trust.fingerprint,
            created_at=clock.now_us(),
            updated_at=clock.now_us(),
        )
        made = offline.restore(directory, file, member, clock, ids)
        with contextlib.closing(Reader(directory / STATE_FILE)) as reader:
            authority = authority_of(reader)
        if authority is not None:  # the rows name the cluster whose member this node is now
            trust.keep(authority, api_names(config, ""))
    click.echo(
        f"The cluster begins anew at entry {made.last_index} with this node as its only voter."
    )


@contextlib.contextmanager
def _stopped(config_path: Path | None) -> Iterator[Path]:
    """Hold the state directory of a node that does not run; what is refused becomes the command's error."""
    from node.config import load
    from node.errors import NodeError

    try:
        directory = load(usual(config_path), others_allowed=True).state_dir
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except NodeError as error:
        raise click.ClickException(error.message) from error
    except OSError as error:
        raise click.ClickException(f"The state directory cannot be used: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield directory
    except BlockingIOError as error:
        raise click.ClickException(f"A node runs on {directory}: stop it first") from error
    except NodeError as error:
        raise click.ClickException(error.message) from error
    finally:
        os.close(descriptor)


def _sure(question: str, *, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True)
