"""Which domain a request means when it does not say."""

from node.plugins.identity.faults import missing
from node.plugins.identity.tables import Project
from node.sdk import Context


def home_domain(ctx: Context) -> str:
    """Return the domain that a new resource gets: that of the token's scope."""
    token = ctx.token
    return token.domain_id or token.project_domain_id or token.user_domain_id


def listing_domain(ctx: Context) -> str:
    """Return the domain that a listing is about, or an empty string: all of them."""
    return ctx.param("domain_id") or ctx.token.domain_id


def must_be_domain(ctx: Context, domain_id: str) -> Project:
    """Return a domain.

    Raises:
        NotFound: 404, there is none with that id.
    """
    domain = ctx.db.get(Project, domain_id)
    if domain is None or not domain.is_domain:
        raise missing("domain", domain_id)
    return domain
