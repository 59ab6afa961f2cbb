"""What a delegated token must not do: hand out rights that outlive or exceed its own.

A trust and a restricted application credential are leashes. A token of one that could make another credential,
an EC2 key or a trust would be off the leash.
"""

from node.plugins.identity.token_codec import EC2_METHOD
from node.plugins.identity.token_store import open_token
from node.sdk import Context, Forbidden


def may_delegate(ctx: Context) -> None:
    """Refuse tokens of trusts and of restricted application credentials.

    Raises:
        Forbidden: 403.
    """
    session = open_token(ctx.db, ctx.auth_token, ctx.now())
    if session is None:
        return
    credential = session.grant.application_credential
    if EC2_METHOD in session.claims.methods:
        raise Forbidden(
            "A token of an EC2 key cannot manage credentials or trusts: log in by password."
        )
    if session.claims.trust_id or (credential is not None and not credential.unrestricted):
        raise Forbidden(
            "A token of a trust or of a restricted application credential cannot manage credentials or trusts: "
            "log in by password."
        )
