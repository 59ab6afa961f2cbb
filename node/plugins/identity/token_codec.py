"""Tokens as bytes: a msgpack payload in a Fernet envelope, as short as Keystone's.

Clients treat a token as opaque; the worker needs only the keys to know what it holds.
"""

import base64
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from node.sdk import Frozen

EC2_METHOD = "ec2credential"
METHODS = ("password", "token", "application_credential", "external", "totp", EC2_METHOD)
"""Bit by position in the payload: append only."""

_VERSION = 1
_HEX_LENGTH = 32
_MAX_TOKEN_LENGTH = 1024


class Claims(Frozen, kw_only=True):
    """What a token says."""

    user_id: str
    methods: tuple[str, ...]
    scope: str = ""
    """project, domain, system or empty."""
    scope_id: str = ""
    issued_at: int
    expires_at: int
    audit_ids: tuple[str, ...]
    """Its own, and that of the first token of its chain."""
    application_credential_id: str = ""
    trust_id: str = ""


class _Payload(msgspec.Struct, array_like=True):
    """Claims on the wire. Ids are 16 bytes there when they are 32 hex digits, otherwise text."""

    version: int
    user_id: Any
    methods: int
    scope: int
    scope_id: Any
    issued_at: int
    expires_at: int
    audit_ids: list[bytes]
    application_credential_id: Any = ""
    trust_id: Any = ""


_SCOPES = ("", "project", "domain", "system")


class TokenCodec:
    """Seals with the first key, opens with any."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [Fernet(key) for key in keys]
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(_Payload)

    def seal(self, claims: Claims, now_s: int) -> str:
        """Return the token."""
        payload = _Payload(
            version=_VERSION,
            user_id=_squeeze(claims.user_id),
            methods=sum(1 << METHODS.index(method) for method in claims.methods),
            scope=_SCOPES.index(claims.scope),
            scope_id=_squeeze(claims.scope_id),
            issued_at=claims.issued_at,
            expires_at=claims.expires_at,
            audit_ids=[base64.urlsafe_b64decode(audit_id + "==") for audit_id in claims.audit_ids],
            application_credential_id=_squeeze(claims.application_credential_id),
            trust_id=_squeeze(claims.trust_id),
        )
        sealed = self._keys[0].encrypt_at_time(self._encoder.encode(payload), now_s)
        return sealed.rstrip(b"=").decode()

    def open(self, token: str) -> Claims | None:
        """Return what a token says, or None when it is none of ours. Its expiry is not looked at."""
        if len(token) > _MAX_TOKEN_LENGTH or not token.isascii():
            return None
        data = token.encode() + b"=" * (-len(token) % 4)
        for key in self._keys:
            try:
                payload = self._decoder.decode(key.decrypt(data))
            except (InvalidToken, msgspec.MsgspecError):
                continue
            return _claims(payload) if payload.version == _VERSION else None
        return None


def new_key() -> str:
    """Return a fresh Fernet key."""
    return Fernet.generate_key().decode()


def audit_id(hex_id: str) -> str:
    """Return 32 hex digits as Keystone writes audit ids: 22 characters of URL-safe base 64."""
    return base64.urlsafe_b64encode(bytes.fromhex(hex_id)).rstrip(b"=").decode()


def _claims(payload: _Payload) -> Claims:
    return Claims(
        user_id=_expand(payload.user_id),
        methods=tuple(name for bit, name in enumerate(METHODS) if payload.methods >> bit & 1),
        scope=_SCOPES[payload.scope],
        scope_id=_expand(payload.scope_id),
        issued_at=payload.issued_at,
        expires_at=payload.expires_at,
        audit_ids=tuple(
            base64.urlsafe_b64encode(raw).rstrip(b"=").decode() for raw in payload.audit_ids
        ),
        application_credential_id=_expand(payload.application_credential_id),
        trust_id=_expand(payload.trust_id),
    )


def _squeeze(ident: str) -> bytes | str:
    if len(ident) != _HEX_LENGTH or ident.strip("0123456789abcdef"):
        return ident
    return bytes.fromhex(ident)


def _expand(ident: bytes | str) -> str:
    return ident if isinstance(ident, str) else ident.hex()
