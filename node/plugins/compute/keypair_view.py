"""Key pairs as Nova shows them."""

import zlib
from typing import Any

from node.plugins.compute.tables import Keypair
from node.sdk import Context, iso_utc


def summary(ctx: Context, pair: Keypair) -> dict[str, Any]:
    """Return a key pair's entry in a list."""
    body: dict[str, Any] = {
        "name": pair.name,
        "public_key": pair.public_key,
        "fingerprint": pair.fingerprint,
    }
    if ctx.microversion >= (2, 2):
        body["type"] = pair.type
    return body


def created(ctx: Context, pair: Keypair, private_key: str | None) -> dict[str, Any]:
    """Return a new key pair, with the private key where it was made here: it is shown this once."""
    body = summary(ctx, pair) | {"user_id": pair.user_id}
    return body | ({"private_key": private_key} if private_key is not None else {})


def detail(ctx: Context, pair: Keypair) -> dict[str, Any]:
    """Return a key pair in full."""
    return summary(ctx, pair) | {
        "user_id": pair.user_id,
        "id": zlib.crc32(pair.id.encode()) & 0x7FFFFFFF,
        "created_at": iso_utc(pair.created_at, suffix="", micros=True),
        "updated_at": None,
        "deleted": False,
        "deleted_at": None,
    }
