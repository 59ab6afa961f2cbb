"""Identity: Keystone's API version 3 over rows, with tokens that every worker checks by itself."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from node.plugins.identity.access_key_rules import open_key
from node.plugins.identity.key_sync import IdentityUpkeep
from node.plugins.identity.password_rules import Passwords
from node.plugins.identity.section import IdentitySection
from node.plugins.identity.seeds import seeds
from node.plugins.identity.tables import ROW_TYPES
from node.plugins.identity.token_store import open_token
from node.sdk import (
    AccessKey,
    AnyOp,
    Config,
    Control,
    Frozen,
    Reader,
    Reconciler,
    Row,
    Service,
    Token,
    hookimpl,
)

if TYPE_CHECKING:
    import click


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the rows of the identity service."""
    return ROW_TYPES


@hookimpl
def services() -> Sequence[Service]:
    """Return the identity service; the core never loads it."""
    from node.plugins.identity.service import build

    return [build(Passwords())]


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return `[identity]`."""
    return {"identity": IdentitySection}


@hookimpl
def reconcilers(control: Control) -> Sequence[Reconciler]:
    """Return the upkeep of keys and revocations."""
    return [IdentityUpkeep(control)]


@hookimpl
def seed_rows(db: Reader, now_us: int, config: Config) -> Sequence[AnyOp]:
    """Return the default domain, projects, roles, region, keys and administrator."""
    return seeds(db, now_us, config)


@hookimpl
def cli(group: "click.Group") -> None:
    """Add `hedgerow identity`."""
    from node.plugins.identity.commands import identity

    group.add_command(identity)


@hookimpl
def token_verify(db: Reader, token: str | AccessKey, now_us: int) -> Token | None:
    """Return who a token, or an EC2 key, stands for."""
    if isinstance(token, AccessKey):
        return open_key(db, token.access, now_us)
    session = open_token(db, token, now_us)
    return session.token if session is not None else None
