"""`hedgerow witness`: the third vote of a cluster of two nodes."""

import signal
import sys
from pathlib import Path
from types import FrameType

import click

from node.commands.asking import config_option


@click.command()
@config_option
def witness(config_path: Path | None) -> None:
    """Run a witness in the foreground until SIGTERM: a vote for two nodes, on any third machine.

    It joins with a token ([cluster] token_file), and needs a state_dir of its own; with [cluster] port = 0 it listens
    nowhere. It holds no rows, and runs no guests.
    """
    from node.cluster.witness import WitnessProcess
    from node.config import LogSection, load
    from node.errors import NodeError
    from node.observe.admin import AdminServer
    from node.observe.log import configure

    try:
        config = load(config_path, others_allowed=True)
        section = config.section(LogSection)
        configure(section.level, section.format)
        process = WitnessProcess(config)
    except NodeError as error:
        raise click.ClickException(error.message) from error

    def end(_number: int, _frame: FrameType | None) -> None:
        process.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    admin = AdminServer(config.state_dir, {"status": process.status})
    admin.start()
    try:
        process.run()
    except NodeError as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(1)
    finally:
        admin.stop()
        process.close()
