"""`hedgerow identity`: what an operator does by hand at the node's shell. No secret is ever an argument."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from node.plugins.identity.key_sync import renewal_ops, rotation_ops
from node.plugins.identity.password_rules import MAX_PASSWORD_LENGTH, Passwords
from node.plugins.identity.section import IdentitySection
from node.plugins.identity.tables import DEFAULT_DOMAIN, FernetKey, LoginFailures, User
from node.sdk import (
    AnyOp,
    BadRequest,
    NodeError,
    NotFound,
    Operator,
    check,
    delete,
    operator,
    patch,
)

_config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="HEDGEROW_CONFIG",
    help="The node's configuration file.",
)


@click.group()
def identity() -> None:
    """Token keys and passwords, by hand."""


@identity.command("rotate-keys")
@_config_option
@click.option(
    "--revoke", is_flag=True, help="Forget all keys: every token made so far ends at once."
)
def rotate_keys(config_path: Path | None, *, revoke: bool) -> None:
    """Make tokens with a new key from now on."""
    try:
        rotate(_operator(config_path), revoke=revoke)
    except NodeError as error:
        raise click.ClickException(error.message) from error
    click.echo("All tokens have ended." if revoke else "Tokens are made with a new key.")


@identity.command("reset-password")
@_config_option
@click.option("--domain-id", default=DEFAULT_DOMAIN, show_default=True, help="The user's domain.")
@click.argument("user", default="admin")
def reset_password(config_path: Path | None, user: str, domain_id: str) -> None:
    """Give USER (default: admin) the password that is typed, or that is the first line of standard input."""
    if sys.stdin.isatty():
        password = click.prompt("New password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    try:
        set_password(_operator(config_path), user, domain_id, password)
    except NodeError as error:
        raise click.ClickException(error.message) from error
    click.echo(f"The password of {user} is changed, the user's tokens have ended.")


def rotate(by: Operator, *, revoke: bool) -> None:
    """Make the staged key the primary; with `revoke` replace all keys.

    Raises:
        NodeError: the node is away or has no keys.
    """
    ttl_s = by.config.section(IdentitySection).token_ttl_s

    def plan() -> Sequence[AnyOp]:
        keys = by.db.rows(FernetKey, order_by=(("number", "asc"),))
        if not keys:
            raise NotFound("The node has no token keys yet: has it been started?")
        return renewal_ops(keys, by.now()) if revoke else rotation_ops(keys, by.now(), ttl_s)

    by.transact(plan)


def set_password(by: Operator, name: str, domain_id: str, password: str) -> None:
    """Set a user's password, enable the user, end a lock and the user's tokens.

    Raises:
        BadRequest: 400, it is no password.
        NotFound: 404, there is no such user.
    """
    if not 0 < len(password) <= MAX_PASSWORD_LENGTH or "\0" in password:
        raise BadRequest(f"A password has 1 to {MAX_PASSWORD_LENGTH} characters")
    password_hash = Passwords(at_once=1).hash(password)

    def plan() -> Sequence[AnyOp]:
        user = by.db.one(User, name=name, domain_id=domain_id)
        if user is None:
            raise NotFound(f"There is no user {name} in the domain {domain_id}")
        now = by.now()
        changed = patch(
            User, user.id, password_hash=password_hash, password_expires_at=0, tokens_valid_from=now,
            enabled=True, updated_at=now,
        )  # fmt: skip
        return [check(user), changed, delete(LoginFailures, user.id)]

    by.transact(plan)


def _operator(config_path: Path | None) -> Operator:
    return operator(config_path, {"identity": IdentitySection})
