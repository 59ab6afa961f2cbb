"""From an EC2 key to who signs with it: the key's user, in the key's project, with the rights left there today."""

from node.plugins.identity.credential_view import ec2_secret
from node.plugins.identity.directory import Directory, Grant, directory
from node.plugins.identity.tables import Credential
from node.plugins.identity.token_codec import EC2_METHOD, Claims
from node.plugins.identity.token_store import context_token
from node.sdk import Frozen, KeyToken, Reader

_HOUR_US = 3600 * 1_000_000


class OpenKey(Frozen):
    """A key that holds: its row, its secret, and what its user may do in its project."""

    row: Credential
    secret: str
    grant: Grant


def find_key(db: Reader, access: str, now_us: int) -> OpenKey | None:
    """Return a key, or None where there is none, or its user or project is disabled or has no rights any more."""
    known = directory(db)
    found = known.notes.get(("ec2", access)) or _find(known, access)
    if found is None or (found.grant.expires_at and now_us >= found.grant.expires_at):
        return None
    made: OpenKey = known.note(("ec2", access), lambda: found)
    return made


def _find(known: Directory, access: str) -> OpenKey | None:
    row = known.db.one(Credential, access=access, type="ec2") if access else None
    secret = ec2_secret(row) if row is not None else ""
    if row is None or not secret:
        return None
    grant = known.grant(
        row.user_id, "project", row.project_id, row.application_credential_id, row.trust_id
    )
    return OpenKey(row=row, secret=secret, grant=grant) if grant is not None else None


def key_claims(key: OpenKey, now_us: int, ttl_us: int, audit_ids: tuple[str, ...]) -> Claims:
    """Return what a token of a key says."""
    ends = now_us + ttl_us
    return Claims(
        user_id=key.row.user_id,
        methods=(EC2_METHOD,),
        scope="project",
        scope_id=key.row.project_id,
        issued_at=now_us,
        expires_at=min(ends, key.grant.expires_at) if key.grant.expires_at else ends,
        audit_ids=audit_ids,
        application_credential_id=key.row.application_credential_id,
        trust_id=key.row.trust_id,
    )


def open_key(db: Reader, access: str, now_us: int) -> KeyToken | None:
    """Return who signs with a key, and with what."""
    key = find_key(db, access, now_us)
    if key is None:
        return None
    token = context_token(key_claims(key, now_us, _HOUR_US, ()), key.grant)
    fields = {name: getattr(token, name) for name in token.__struct_fields__}
    return KeyToken(**fields, secret=key.secret)
