"""From the text of a token to who it stands for, without a round trip."""

from node.plugins.identity.directory import Directory, Grant, directory
from node.plugins.identity.tables import ApplicationCredential, Project, Revocation
from node.plugins.identity.token_codec import Claims
from node.sdk import Frozen, Reader, Token

ALLOW_EXPIRED_WINDOW_US = 48 * 3600 * 1_000_000
"""How long after its end a token may still be looked at with `allow_expired`."""


class Session(Frozen):
    """A token that holds, with its user's rights."""

    text: str
    claims: Claims
    grant: Grant
    token: Token


def open_token(
    db: Reader, text: str, now_us: int, *, allow_expired: bool = False
) -> Session | None:
    """Return the session of a token, or None when it is expired, revoked, dead or not ours."""
    known = directory(db)
    session: Session | None = known.notes.get(text)
    if session is None:
        session = _open(known, text)
        if session is None:
            return None
        made = session
        session = known.note(text, lambda: made)
    ends = session.claims.expires_at + (ALLOW_EXPIRED_WINDOW_US if allow_expired else 0)
    if now_us >= ends or (session.grant.expires_at and now_us >= session.grant.expires_at):
        return None
    return session


def _open(known: Directory, text: str) -> Session | None:
    claims = known.codec.open(text)
    if claims is None or known.db.get(Revocation, claims.audit_ids[0]) is not None:
        return None
    grant = known.grant(
        claims.user_id,
        claims.scope,
        claims.scope_id,
        claims.application_credential_id,
        claims.trust_id,
    )
    if grant is None or claims.issued_at < grant.valid_from:
        return None
    return Session(text=text, claims=claims, grant=grant, token=context_token(claims, grant))


def context_token(claims: Claims, grant: Grant) -> Token:
    """Return what every service sees of a token."""
    none = Project(id="", name="")
    project = grant.project or none
    project_domain = grant.project_domain or none
    domain = grant.domain or none
    return Token(
        user_id=grant.user.id,
        user_name=grant.user.name,
        user_domain_id=grant.user_domain.id,
        user_domain_name=grant.user_domain.name,
        roles=tuple(role.name for role in grant.roles),
        project_id=project.id,
        project_name=project.name,
        project_domain_id=project_domain.id,
        project_domain_name=project_domain.name,
        domain_id=domain.id,
        domain_name=domain.name,
        system=grant.system,
        expires_at=claims.expires_at,
        issued_at=claims.issued_at,
        methods=claims.methods,
        audit_ids=claims.audit_ids,
        application_credential_id=claims.application_credential_id,
        access_rules=_access_rules(grant.application_credential),
    )


def _access_rules(credential: ApplicationCredential | None) -> tuple[dict[str, str], ...] | None:
    if credential is None or credential.access_rules is None:
        return None
    return tuple(
        {"service": rule.service, "path": rule.path, "method": rule.method}
        for rule in credential.access_rules
    )
