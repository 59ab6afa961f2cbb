"""Tokens: make, look at, revoke.

Source: https://docs.openstack.org/api-ref/identity/v3/#authentication-and-token-management
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from node.plugins.identity.catalog_rules import catalog_json
from node.plugins.identity.directory import Grant, directory
from node.plugins.identity.faults import missing, unauthenticated
from node.plugins.identity.listing import flag
from node.plugins.identity.password_rules import Passwords
from node.plugins.identity.section import IdentitySection
from node.plugins.identity.tables import Revocation, Trust
from node.plugins.identity.token_bodies import AuthBody
from node.plugins.identity.token_codec import Claims, audit_id
from node.plugins.identity.token_rules import Login, Place, authenticate, choose_place
from node.plugins.identity.token_store import Session, open_token
from node.plugins.identity.token_view import token_view
from node.sdk import AnyOp, Context, Forbidden, Reply, Route, check, insert, patch

_SECOND_US = 1_000_000


def create_token(passwords: Passwords, ctx: Context) -> Reply:
    """Log in.

    Raises:
        Unauthorized: 401, in every case of not being who one says or not having rights there.
    """
    auth = ctx.body.auth
    login = authenticate(passwords, ctx, auth.identity)
    place = choose_place(ctx, auth, login)
    trust = place.trust
    user_id = trust.trustor_user_id if trust and trust.impersonation else login.user.id
    known = directory(ctx.db)
    grant = known.grant(
        user_id,
        place.scope,
        place.scope_id,
        login.credential.id if login.credential else "",
        trust.id if trust else "",
    )
    if grant is None:
        raise unauthenticated()
    if trust is not None and trust.remaining_uses is not None:
        _use_up(ctx, trust.id)
    claims = _claims(ctx, login, place, grant)
    text = known.codec.seal(claims, claims.issued_at // _SECOND_US)
    return Reply(
        body=token_view(claims, grant, _catalog(ctx, grant)),
        headers={"X-Subject-Token": text},
    )


def _claims(ctx: Context, login: Login, place: Place, grant: Grant) -> Claims:
    now_us = ctx.now()
    audit_ids: tuple[str, ...] = (audit_id(ctx.ids.hex()),)
    if login.parent is None:
        ttl_us = ctx.config.section(IdentitySection).token_ttl_s * _SECOND_US
        expires_at = (now_us + ttl_us) // _SECOND_US * _SECOND_US
    else:
        expires_at = login.parent.claims.expires_at
        audit_ids += (login.parent.claims.audit_ids[-1],)
    if grant.expires_at:
        expires_at = min(expires_at, grant.expires_at)
    return Claims(
        user_id=grant.user.id,
        methods=login.methods,
        scope=place.scope,
        scope_id=place.scope_id,
        issued_at=now_us,
        expires_at=expires_at,
        audit_ids=audit_ids,
        application_credential_id=login.credential.id if login.credential else "",
        trust_id=place.trust.id if place.trust else "",
    )


def _use_up(ctx: Context, trust_id: str) -> None:
    """Count one use of a trust."""

    def plan() -> tuple[Sequence[AnyOp], None]:
        trust = ctx.db.get(Trust, trust_id)
        if trust is None or not trust.remaining_uses:
            raise Forbidden("The trust has no uses left.")
        left = trust.remaining_uses - 1
        return [
            check(trust),
            patch(Trust, trust_id, remaining_uses=left, updated_at=ctx.now()),
        ], None

    ctx.transact(plan)


def _catalog(ctx: Context, grant: Grant) -> msgspec.Raw | None:
    scoped = grant.project or grant.domain or grant.system
    if not scoped or flag(ctx, "nocatalog"):
        return None
    return catalog_json(ctx, grant.project.id if grant.project else "", grant.user.id)


def subject(ctx: Context) -> Mapping[str, Any]:
    """Return what the policy is asked about: the token in X-Subject-Token.

    Raises:
        NotFound: 404, it is no token that holds.
    """
    session = _subject(ctx)
    return {"target.token.user_id": session.grant.user.id}


def _subject(ctx: Context) -> Session:
    text = ctx.headers.get("x-subject-token", "")
    session = open_token(ctx.db, text, ctx.now(), allow_expired=flag(ctx, "allow_expired"))
    if session is None:
        raise missing("token", "the subject token is expired, revoked or none of this cloud")
    return session


def show_token(ctx: Context) -> Reply:
    """Return what a token stands for."""
    session = _subject(ctx)
    return Reply(
        body=token_view(session.claims, session.grant, _catalog(ctx, session.grant)),
        headers={"X-Subject-Token": session.text},
    )


def check_token(ctx: Context) -> Reply:
    """Say by the status whether a token holds."""
    return Reply(headers={"X-Subject-Token": _subject(ctx).text})


def revoke_token(ctx: Context) -> None:
    """Revoke a token."""
    session = _subject(ctx)
    row = Revocation(
        id=session.claims.audit_ids[0],
        expires_at=session.claims.expires_at,
        created_at=ctx.now(),
        updated_at=ctx.now(),
    )
    ctx.commit([insert(row)])


def routes(passwords: Passwords) -> tuple[Route, ...]:
    """Return the routes of tokens."""
    path = "/v3/auth/tokens"
    return (
        Route(
            method="POST",
            path=path,
            handler=partial(create_token, passwords),
            policy="public",
            status=201,
            body=AuthBody,
            summary="Log in",
        ),
        Route(
            method="GET",
            path=path,
            handler=show_token,
            policy="identity:validate_token",
            target=subject,
            summary="Show a token",
        ),
        Route(
            method="HEAD",
            path=path,
            handler=check_token,
            policy="identity:check_token",
            target=subject,
            summary="Check a token",
        ),
        Route(
            method="DELETE",
            path=path,
            handler=revoke_token,
            policy="identity:revoke_token",
            target=subject,
            status=204,
            summary="Revoke a token",
        ),
    )
