"""Signed requests of EC2 and S3, judged for other services: a token for a signature that is right.

Both need a caller with the role `service` or `admin`: whoever saw a signed request could otherwise make a token of it.

Source: https://docs.openstack.org/api-ref/identity/v3-ext/ (OS-EC2, s3tokens), OSSA-2025-002.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from node.plugins.identity.access_key_rules import find_key, key_claims
from node.plugins.identity.catalog_rules import catalog_json
from node.plugins.identity.directory import directory
from node.plugins.identity.faults import unauthenticated
from node.plugins.identity.section import IdentitySection
from node.plugins.identity.token_codec import audit_id
from node.plugins.identity.token_view import token_view
from node.sdk import BadRequest, Context, Frozen, Reply, Route, parse_iso

_SECOND_US = 1_000_000
_SKEW_US = 15 * 60 * _SECOND_US
_V4 = "AWS4-HMAC-SHA256"


class Signed(Frozen):
    """A request as the service that received it describes it."""

    access: str
    signature: str
    token: str = ""
    """Of s3tokens: base64 of the string that was signed."""
    host: str = ""
    verb: str = ""
    path: str = "/"
    params: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body_hash: str = ""


class Body(Frozen):
    """Keystone takes both names."""

    credentials: Signed | None = None
    ec2Credentials: Signed | None = None  # noqa: N815 - Keystone's name


def ec2_token(ctx: Context) -> Reply:
    """Return a token for a signed request to EC2."""
    return _token(ctx, _ec2_fits)


def s3_token(ctx: Context) -> Reply:
    """Return a token for a signed request to S3."""
    return _token(ctx, _s3_fits)


def _token(ctx: Context, fits: Any) -> Reply:
    signed = ctx.body.credentials or ctx.body.ec2Credentials
    if signed is None:
        raise BadRequest("Expecting to find credentials in the request body.")
    now_us = ctx.now()
    key = find_key(ctx.db, signed.access, now_us)
    if key is None or not fits(key.secret, signed) or not _is_recent(signed, now_us):
        raise unauthenticated()
    ttl_us = ctx.config.section(IdentitySection).token_ttl_s * _SECOND_US
    claims = key_claims(key, now_us, ttl_us, (audit_id(ctx.ids.hex()),))
    text = directory(ctx.db).codec.seal(claims, now_us // _SECOND_US)
    catalog = catalog_json(ctx, key.row.project_id, key.row.user_id)
    return Reply(body=token_view(claims, key.grant, catalog), headers={"X-Subject-Token": text})


def _is_recent(signed: Signed, now_us: int) -> bool:
    """Return whether a signature is of these minutes; one that says no time is as old as its key."""
    headers = {name.lower(): value for name, value in signed.headers.items()}
    text = (
        signed.params.get("Timestamp")
        or signed.params.get("X-Amz-Date")
        or headers.get("x-amz-date", "")
    )
    if signed.token:
        lines = (
            base64.urlsafe_b64decode(signed.token.encode()).decode("utf-8", "replace").split("\n")
        )
        text = lines[1] if lines[0] == _V4 and len(lines) > 1 else ""
    if not text:
        return True
    try:
        return abs(parse_iso(text) - now_us) <= _SKEW_US
    except (ValueError, OverflowError):
        return False


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode("utf-8", "replace"))


def _s3_fits(secret: str, signed: Signed) -> bool:
    """Return whether the string was signed with the secret, in version 4 or 1."""
    try:
        text = base64.urlsafe_b64decode(signed.token.encode())
    except (binascii.Error, ValueError):
        return False
    lines = text.split(b"\n")
    if lines[0] == _V4.encode() and len(lines) == 4:
        return _same(_sign_v4(secret, lines[2].decode("utf-8", "replace"), text), signed.signature)
    digest = hmac.digest(secret.encode(), text, "sha1")
    return _same(base64.b64encode(digest).decode(), signed.signature)


def _sign_v4(secret: str, scope: str, text: bytes) -> str:
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text, "sha256").hex()


def _ec2_fits(secret: str, signed: Signed) -> bool:
    """Return whether the request was signed with the secret, in version 4, 2 or 1."""
    headers = {name.lower(): value for name, value in signed.headers.items()}
    header = headers.get("authorization", "")
    if header.startswith(_V4) or signed.params.get("X-Amz-Algorithm") == _V4:
        return _ec2_v4_fits(secret, signed, headers)
    params = {name: value for name, value in signed.params.items() if name != "Signature"}
    query = "&".join(
        f"{quote(n, safe='-_~')}={quote(params[n], safe='-_~')}" for n in sorted(params)
    )
    version = params.get("SignatureVersion", "")
    hosts = (signed.host, signed.host.partition(":")[0])
    if version == "2":
        method = {"HmacSHA256": "sha256", "HmacSHA1": "sha1"}.get(params.get("SignatureMethod", ""))
        texts = [f"{signed.verb}\n{host}\n{signed.path}\n{query}" for host in hosts]
    elif version == "1":
        ordered = sorted(params.items(), key=lambda pair: pair[0].lower())
        method, texts = "sha1", ["".join(name + value for name, value in ordered)]
    else:
        return False
    if method is None:
        return False
    return any(
        _same(
            base64.b64encode(hmac.digest(secret.encode(), text.encode(), method)).decode(),
            signed.signature,
        )
        for text in texts
    )


def _ec2_v4_fits(secret: str, signed: Signed, headers: Mapping[str, str]) -> bool:
    header = headers.get("authorization", "")
    fields = dict(
        part.strip().partition("=")[::2]
        for part in header.removeprefix(_V4).split(",")
        if "=" in part
    )
    credential = fields.get("Credential") or signed.params.get("X-Amz-Credential", "")
    names = fields.get("SignedHeaders") or signed.params.get("X-Amz-SignedHeaders", "")
    moment = headers.get("x-amz-date") or signed.params.get("X-Amz-Date", "")
    scope = credential.partition("/")[2]
    if credential.partition("/")[0] != signed.access or scope.count("/") != 3:
        return False
    params = {n: v for n, v in signed.params.items() if n != "X-Amz-Signature"}
    if signed.verb == "POST":
        params = {}
    query = "&".join(
        f"{quote(n, safe='-_~')}={quote(params[n], safe='-_~')}" for n in sorted(params)
    )
    for host in dict.fromkeys(
        (headers.get("host", signed.host), signed.host, signed.host.partition(":")[0])
    ):
        known = {**headers, "host": host}
        lines = "".join(f"{n}:{' '.join(known.get(n, '').split())}\n" for n in names.split(";"))
        request = f"{signed.verb}\n{signed.path}\n{query}\n{lines}\n{names}\n{signed.body_hash}"
        text = "\n".join((_V4, moment, scope, sha256(request.encode()).hexdigest()))
        if _same(_sign_v4(secret, scope, text.encode()), signed.signature):
            return True
    return False


ROUTES = (
    Route(
        method="POST", path="/v3/ec2tokens", handler=ec2_token, policy="identity:ec2_validate", body=Body,
        summary="Exchange a signed EC2 request for a token",
    ),
    Route(
        method="POST", path="/v3/s3tokens", handler=s3_token, policy="identity:s3_validate", body=Body,
        summary="Exchange a signed S3 request for a token",
    ),
)  # fmt: skip
