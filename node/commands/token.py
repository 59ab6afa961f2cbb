"""`hedgerow token`: what lets machines into a cluster."""

from pathlib import Path
from typing import Any

import click

from node.commands.asking import (
    ask_node,
    config_option,
    format_option,
    show_list,
    show_one,
)

_COLUMNS = ("id", "state", "expires_at", "joined", "founders", "note")
_SHOWN_ONCE = "This is a secret, and it is shown this once: put it into the file that [cluster] token_file names"


@click.group()
def token() -> None:
    """Make, list and end the tokens that let machines into a cluster."""


@token.command()
@click.option(
    "--founders", type=click.Choice(["1", "3", "5"]), default="3", show_default=True,
    help="How many machines begin the cluster; start just as many, and any others later.",
)  # fmt: skip
@click.option(
    "--founder", "names", metavar="NAME", multiple=True,
    help="[node] name (else the host name) of a machine that may begin it (repeatable), in place of --founders: then "
    "any number of machines may be started at once.",
)  # fmt: skip
@click.option("--valid-days", type=float, default=0, help="0: for ever.")
def new(founders: str, names: tuple[str, ...], valid_days: float) -> None:
    """Make a token for a cluster that is not there yet: give the same one to each fresh machine.

    Works anywhere and stores nothing. A majority of the founders must see each other to begin.
    """
    from node.clock import SystemClock
    from node.cluster.token import DAY_US, make
    from node.errors import BadRequest
    from node.ids import RandomIds

    if valid_days < 0:
        raise click.BadParameter("is negative", param_hint="--valid-days")
    expires_at = SystemClock().now_us() + round(valid_days * DAY_US) if valid_days else 0
    try:
        made = make(RandomIds(), founders=int(founders), expires_at=expires_at, names=names)
    except BadRequest as error:
        raise click.BadParameter(error.message, param_hint="--founder") from error
    click.echo(_SHOWN_ONCE, err=True)
    click.echo(made.text)


@token.command()
@config_option
@click.option("--valid-days", type=float, default=7, show_default=True, help="0: for ever.")
@click.option("--note", default="", help="What it is for.")
def create(config_path: Path | None, valid_days: float, note: str) -> None:
    """Make a token of this cluster: a machine with it joins, and never begins a cluster."""
    _show_made(ask_node(config_path, "token_create", valid_days=valid_days, note=note))


@token.command("list")
@config_option
@format_option
def list_(config_path: Path | None, form: str) -> None:
    """List the tokens of this cluster, without their secrets."""
    show_list([_readable(row) for row in ask_node(config_path, "token_list")], _COLUMNS, form)


@token.command()
@config_option
@click.argument("id")
def revoke(config_path: Path | None, id: str) -> None:
    """End a token at once. Those whom it has admitted stay members."""
    show_one(_readable(ask_node(config_path, "token_revoke", id=id)), "table")


@token.command()
@config_option
@click.argument("id")
@click.option(
    "--grace-days", type=float, default=1, show_default=True,
    help="How long the old one stays valid beside the new one; 0: not at all.",
)  # fmt: skip
def rotate(config_path: Path | None, id: str, grace_days: float) -> None:
    """Make a token in the place of another one."""
    _show_made(ask_node(config_path, "token_rotate", id=id, grace_days=grace_days))


def _show_made(made: dict[str, Any]) -> None:
    text = made.pop("token")
    for name, value in _readable(made).items():
        click.echo(f"{name}: {value}", err=True)
    click.echo(_SHOWN_ONCE, err=True)
    click.echo(text)


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """Return times as people write them."""
    from node.clock import iso_utc

    times = {name: iso_utc(row[name]) if row[name] else "" for name in ("created_at", "expires_at")}
    return {**row, **times}
