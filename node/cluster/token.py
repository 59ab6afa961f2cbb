"""Tokens: what a machine carries to find and join its cluster, or to found it with others of the same token.

`hedgerow1.` and base64url of a packed body, with the founders' names if it has any, and a checksum. The secret never
crosses the network and is in no row: both sides prove that they hold the key that is derived from it.
"""

import base64
import hashlib
import hmac
import struct
import uuid
from collections.abc import Sequence
from pathlib import Path

from node.errors import BadRequest
from node.ids import Ids
from node.types import Frozen

PREFIX = "hedgerow1."
FOUNDERS = (1, 3, 5)
JOIN_ONLY = 0
"""The number of founders in a token of a cluster that is there already: its bearer never founds one."""
DAY_US = 86_400_000_000
SECRET_BYTES = 32
_BODY = struct.Struct(f">16s16s{SECRET_BYTES}sBQ")
_NAMED = 0x80
"""Added to the number of founders of a token that names them."""
_FOUNDERS_AT = 32 + SECRET_BYTES
_LENGTH = struct.Struct(">H")
_SUM_BYTES = 4
_MAX_FILE_BYTES = 16384
MOST_NAMES = 31
_NAMES_BYTES = 4096
_DERIVE = b"hedgerow join key 1"


class Token(Frozen):
    """A cluster's token. Its text is a secret; its printed form is not."""

    cluster_id: str
    """UUID of the cluster, also before anyone founded it."""
    token_id: str
    """32 hex digits."""
    secret: bytes
    founders: int
    expires_at: int = 0
    """Micros; 0: never."""
    names: tuple[str, ...] = ()
    """Of the founders, where it names them: no other node has a voice."""

    def has_voice(self, name: str) -> bool:
        """Return whether a fresh node of that name is one of the founders."""
        return bool(self.founders) and (not self.names or name in self.names)

    @property
    def key(self) -> bytes:
        """Return what both sides prove that they hold."""
        return derive(self.cluster_id, self.token_id, self.secret)

    @property
    def text(self) -> str:
        """Return the token as people carry it: a secret."""
        body = _BODY.pack(
            uuid.UUID(self.cluster_id).bytes,
            bytes.fromhex(self.token_id),
            self.secret,
            self.founders | (_NAMED if self.names else 0),
            self.expires_at,
        )
        if self.names:
            names = "\0".join(self.names).encode()
            body += _LENGTH.pack(len(names)) + names
        data = body + hashlib.sha256(body).digest()[:_SUM_BYTES]
        return PREFIX + base64.urlsafe_b64encode(data).decode().rstrip("=")

    def __repr__(self) -> str:
        return f"Token({self.token_id} of cluster {self.cluster_id})"

    def is_expired(self, now_us: int) -> bool:
        """Return whether it admits nobody any more."""
        return bool(self.expires_at) and now_us >= self.expires_at


def make(
    ids: Ids, *, founders: int = JOIN_ONLY, expires_at: int = 0, cluster_id: str = "", names: Sequence[str] = ()
) -> Token:  # fmt: skip
    """Return a new token: of a cluster that is there, or with a number of founders of a new one, or their names.

    Raises:
        BadRequest: 400, no cluster begins with that many nodes, or with such names.
    """
    if names:
        _check_names(names)
        founders = len(names)
    elif founders not in FOUNDERS and not (cluster_id and founders == JOIN_ONLY):
        raise BadRequest(f"A cluster begins with 1, 3 or 5 founders, not {founders}")
    return Token(
        cluster_id=cluster_id or ids.uuid(),
        token_id=ids.hex(),
        secret=_secret(ids),
        founders=founders,
        expires_at=expires_at,
        names=tuple(names),
    )


def _check_names(names: Sequence[str]) -> None:
    long = sum(len(name.encode()) + 1 for name in names) > _NAMES_BYTES
    if len(set(names)) != len(names) or len(names) > MOST_NAMES or long:
        raise BadRequest(f"A token names each founder once, and at most {MOST_NAMES} of them")
    if bad := [name for name in names if not name or not name.isprintable() or len(name) > 255]:
        raise BadRequest(f"{bad[0]!r} is no name of a node")


def parse(text: str) -> Token:
    """Return the token of a text.

    Raises:
        BadRequest: 400, it is none; says what is wrong and never repeats it.
    """
    text = "".join(text.split())
    if not text:
        raise BadRequest("The token is empty: make one with `hedgerow token create`")
    if not text.startswith(PREFIX):
        if text.startswith("hedgerow"):
            raise BadRequest(
                "The token is of a newer kind than this version knows: update this node"
            )
        raise BadRequest(f"This is no token: one begins with {PREFIX}")
    encoded = text.removeprefix(PREFIX)
    try:
        # `validate` is what makes a stray character an error; the alphabet is translated for it.
        data = base64.b64decode(
            encoded.translate(str.maketrans("-_", "+/")) + "=" * (-len(encoded) % 4), validate=True
        )
    except ValueError as error:
        raise BadRequest("The token has characters that no token has: copy it again") from error
    size = _size_of(data)
    if len(data) != size + _SUM_BYTES:
        raise BadRequest(
            "The token is not whole: copy it again, from its first to its last character"
        )
    body, checksum = data[:size], data[size:]
    if hashlib.sha256(body).digest()[:_SUM_BYTES] != checksum:
        raise BadRequest("The token has a wrong character in it: copy it again")
    return _unpacked(body)


def _size_of(data: bytes) -> int:
    """Return how long the body of a token is that begins so."""
    is_named = len(data) >= _BODY.size + _LENGTH.size and data[_FOUNDERS_AT] & _NAMED
    return _BODY.size + (_LENGTH.size + _LENGTH.unpack_from(data, _BODY.size)[0] if is_named else 0)


def _unpacked(body: bytes) -> Token:
    cluster, token_id, secret, founders, expires_at = _BODY.unpack_from(body)
    names: tuple[str, ...] = ()
    if founders & _NAMED:
        names = tuple(body[_BODY.size + _LENGTH.size :].decode("utf-8", "replace").split("\0"))
        _check_names(names)
        founders = len(names)
    elif founders not in (JOIN_ONLY, *FOUNDERS):
        raise BadRequest(
            f"The token wants {founders} founders, and a cluster begins with 1, 3 or 5"
        )
    return Token(
        cluster_id=str(uuid.UUID(bytes=cluster)),
        token_id=token_id.hex(),
        secret=secret,
        founders=founders,
        expires_at=expires_at,
        names=names,
    )


def read(path: Path) -> Token:
    """Return the token of a file.

    Raises:
        BadRequest: 400, there is no such file, or it holds no token; names the file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise BadRequest(f"The token file {path} cannot be read: {error.strerror}") from error
    try:
        return parse(data.decode("ascii", "replace"))
    except BadRequest as error:
        raise BadRequest(f"{path}: {error.message}") from error


def derive(cluster_id: str, token_id: str, secret: bytes) -> bytes:
    """Return the key of a token's secret: 32 bytes that cannot be turned back."""
    context = b"|".join((_DERIVE, cluster_id.encode(), token_id.encode()))
    return hmac.digest(secret, context, "sha256")


def _secret(ids: Ids) -> bytes:
    return base64.urlsafe_b64decode(ids.secret(SECRET_BYTES) + "=")
