"""`hedgerow node`: the members of the cluster, and those who want to be."""

from pathlib import Path

import click

from node.commands.asking import ask_node, config_option, format_option, show_list, show_one

_COLUMNS = ("name", "standing", "state", "role", "address", "version", "id", "fingerprint")
_SHOWN = 16
"""Digits of a fingerprint in a table: enough to tell nodes apart and to name one."""


@click.group("node")
def member() -> None:
    """See the members of the cluster, and admit those who wait."""


@member.command("list")
@config_option
@format_option
def list_(config_path: Path | None, form: str) -> None:
    """List members, and the nodes that wait for approval."""
    rows = ask_node(config_path, "node_list")
    if form == "table":
        rows = [{**row, "fingerprint": row["fingerprint"][:_SHOWN]} for row in rows]
    show_list(rows, _COLUMNS, form)


@member.command()
@config_option
@format_option
@click.argument("node")
def show(config_path: Path | None, form: str, node: str) -> None:
    """Show a node: name, id or fingerprint (its beginning is enough)."""
    show_one(ask_node(config_path, "node_show", node=node), form)


@member.command()
@config_option
@click.argument("node")
def approve(config_path: Path | None, node: str) -> None:
    """Admit a node that waits: name or fingerprint (its beginning is enough).

    Compare the fingerprint with what `hedgerow status` says on that machine: a name can be anyone's.
    """
    found = ask_node(config_path, "node_approve", node=node)
    click.echo(
        f"{found['name']} ({found['fingerprint']}) is admitted as soon as it asks again, "
        "which it does every few seconds"
    )


@member.command()
@config_option
@click.argument("node")
def remove(config_path: Path | None, node: str) -> None:
    """Remove a node for good, or send away one that waits for approval."""
    found = ask_node(config_path, "node_list")
    waiting = [row for row in found if row["standing"] == "pending" and _is_named(row, node)]
    command = "node_refuse" if waiting else "node_remove"
    show_one(ask_node(config_path, command, node=node), "table")


def _is_named(row: dict[str, str], text: str) -> bool:
    return text == row["name"] or row["fingerprint"].startswith(text.lower())
