"""Who asks: signatures of version 4 and 2, in headers or in the query, with the cloud's EC2 keys; or nobody.

What is found is put into `ctx.token_or_none`; the body comes back as a `Body` that holds the client to its word.

Hard part: everything that decides about the request must be signed. A header of Amazon's that is not among the
signed ones could have been added by somebody on the way, so it is refused.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from node.plugins.object.s3 import signature_v2, signature_v4
from node.plugins.object.s3.body import Body, Promise, Signer, content_md5
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.signature_v4 import UNSIGNED, Scope
from node.sdk import AccessKey, Context, KeyToken

SKEW_S = 15 * 60
_MAX_EXPIRES_S = 7 * 24 * 3600
_HEX = re.compile(r"[0-9a-f]{64}")
_BASIC = re.compile(r"\d{8}T\d{6}Z")
_QUERY_ERROR = "AuthorizationQueryParametersError"
_STREAMING = "STREAMING-"
_TRAILER = "-TRAILER"


def authenticate(ctx: Context) -> Body:
    """Find out who asks, and return the body.

    Raises:
        S3Error: the signature is wrong, too old, or by an unknown key.
    """
    headers = ctx.headers
    text = headers.get("authorization", "")
    ways = [
        way
        for way, given in (
            (_by_header, bool(text)),
            (_by_query, "X-Amz-Algorithm" in ctx.params or "X-Amz-Credential" in ctx.params),
            (_by_old_query, "AWSAccessKeyId" in ctx.params and "Signature" in ctx.params),
        )
        if given
    ]
    if len(ways) > 1:
        raise S3Error(
            "InvalidArgument",
            "Only one auth mechanism allowed: a signed query, or the Authorization header.",
        )
    if "content-md5" in headers:
        content_md5(headers["content-md5"])
    promise = ways[0](ctx) if ways else _promise(ctx, headers.get("x-amz-content-sha256", ""))
    return Body(ctx.stream, headers, promise)


def anonymous(ctx: Context) -> Body:
    """Return the body of a request that nobody needs to have signed."""
    return Body(ctx.stream, ctx.headers, _promise(ctx, ""))


def key_of(ctx: Context, access: str) -> KeyToken:
    """Return whose key it is, after noting who asks.

    Raises:
        S3Error: InvalidAccessKeyId.
    """
    token = ctx.hook.token_verify(
        db=ctx.db, token=AccessKey(access=access), now_us=ctx.clock.now_us()
    )
    if not isinstance(token, KeyToken):
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=access)
    if token.access_rules is not None:
        raise S3Error(
            "AccessDenied", "Keys of an application credential with access rules are not for S3."
        )
    ctx.token_or_none = token
    return token


def _sent(ctx: Context) -> tuple[str, str]:
    """Return the path and the query as the client sent them."""
    uri = ctx.sent_uri
    path, mark, query = uri.partition("?")
    return path, query if mark else ctx.environ.get("QUERY_STRING", "")


def _by_header(ctx: Context) -> Promise:
    text = ctx.headers["authorization"]
    if text.startswith(signature_v4.ALGORITHM):
        return _by_v4(ctx, signature_v4.scope_of_header(text))
    if not text.startswith("AWS "):
        raise S3Error(
            "InvalidArgument",
            "Unsupported Authorization Type",
            ArgumentName="Authorization",
            ArgumentValue=text[:100],
        )
    access, colon, signature = text[4:].strip().rpartition(":")
    if not colon or not access:
        raise S3Error(
            "InvalidArgument",
            "AWS authorization header is invalid. Expected AwsAccessKeyId:signature",
        )
    _check_skew(ctx, _moment(ctx))
    _check_v2(ctx, access, signature, "")
    return _promise(ctx, ctx.headers.get("x-amz-content-sha256", ""))


def _moment(ctx: Context) -> tuple[str, float]:
    """Return the time of a request: as version 4 signs it, and in seconds.

    Raises:
        S3Error: AccessDenied, there is none.
    """
    text = ctx.headers.get("x-amz-date") or ctx.headers.get("date", "")
    try:
        if _BASIC.fullmatch(text):
            found = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        else:
            found = parsedate_to_datetime(text)
            found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return f"{found.astimezone(UTC):%Y%m%dT%H%M%SZ}", found.timestamp()
    except (ValueError, TypeError, OverflowError) as error:
        raise S3Error(
            "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header"
        ) from error


def _check_skew(ctx: Context, moment: tuple[str, float]) -> None:
    now = ctx.clock.now_us() / 1_000_000
    if abs(now - moment[1]) > SKEW_S:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=moment[0],
            ServerTime=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
            MaxAllowedSkewMilliseconds=SKEW_S * 1000,
        )


def _by_v4(ctx: Context, scope: Scope) -> Promise:
    payload = ctx.headers.get("x-amz-content-sha256", "")
    if not payload:
        raise S3Error(
            "InvalidRequest", "Missing required header for this request: x-amz-content-sha256"
        )
    moment = _moment(ctx)
    _check_skew(ctx, moment)
    if scope.date != moment[0][:8]:
        raise S3Error(
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the date of the credential is not that of the request.",
        )
    _check_signed(ctx, scope, spared=())
    secret = _check_v4(ctx, scope, moment[0], payload)

    def signer(kind: str, hashes: tuple[str, ...]) -> str:
        text = signature_v4.string_to_sign(kind, moment[0], scope, *hashes)
        return signature_v4.sign(secret, scope, text)

    return _promise(ctx, payload, scope.signature, signer)


def _by_query(ctx: Context) -> Promise:
    fields = {
        name: ctx.param(f"X-Amz-{name}") or ""
        for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
    }
    missing = [f"X-Amz-{name}" for name, value in fields.items() if not value]
    if missing:
        raise S3Error(
            _QUERY_ERROR, f"Query-string authentication version 4 requires {', '.join(missing)}."
        )
    if fields["Algorithm"] != signature_v4.ALGORITHM:
        raise S3Error(_QUERY_ERROR, "X-Amz-Algorithm only supports AWS4-HMAC-SHA256.")
    scope = signature_v4.scope_of(
        fields["Credential"], fields["SignedHeaders"], fields["Signature"], _QUERY_ERROR
    )
    if not _BASIC.fullmatch(fields["Date"]):
        raise S3Error(
            _QUERY_ERROR, "X-Amz-Date must be in the ISO8601 Long Format yyyyMMdd'T'HHmmss'Z'."
        )
    try:
        begins = datetime.strptime(fields["Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        seconds = int(fields["Expires"])
    except (ValueError, OverflowError) as error:
        raise S3Error(_QUERY_ERROR, "X-Amz-Expires should be a number.") from error
    if not 0 <= seconds <= _MAX_EXPIRES_S:
        raise S3Error(
            _QUERY_ERROR, "X-Amz-Expires must be non-negative and less than a week (in seconds)."
        )
    now = ctx.clock.now_us() / 1_000_000
    if now < begins - SKEW_S:
        raise S3Error("AccessDenied", "Request is not valid yet")
    if now > begins + seconds:
        raise S3Error(
            "AccessDenied",
            "Request has expired",
            Expires=int(begins + seconds),
            ServerTime=int(now),
        )
    if scope.date != fields["Date"][:8]:
        raise S3Error(_QUERY_ERROR, "The date of the credential is not that of X-Amz-Date.")
    _check_signed(ctx, scope, spared=("x-amz-content-sha256", "x-amz-date"))
    signed_payload = "x-amz-content-sha256" in scope.signed
    payload = ctx.headers.get("x-amz-content-sha256", "") if signed_payload else ""
    payload = ctx.param("X-Amz-Content-Sha256") or payload or UNSIGNED
    _check_v4(ctx, scope, fields["Date"], payload)
    return _promise(ctx, payload)


def _by_old_query(ctx: Context) -> Promise:
    expires = ctx.param("Expires") or ""
    if not expires.isascii() or not expires.isdigit():
        raise S3Error("AccessDenied", f"Invalid date (should be seconds since epoch): {expires}")
    if ctx.clock.now_us() / 1_000_000 > int(expires):
        raise S3Error("AccessDenied", "Request has expired")
    _check_v2(ctx, ctx.param("AWSAccessKeyId") or "", ctx.param("Signature") or "", expires)
    return _promise(ctx, ctx.headers.get("x-amz-content-sha256", ""))


def _check_signed(ctx: Context, scope: Scope, spared: tuple[str, ...]) -> None:
    if "host" not in scope.signed:
        raise S3Error("AccessDenied", "The header host must be signed.")
    loose = [
        name
        for name in ctx.headers
        if name.startswith("x-amz-") and name not in scope.signed and name not in spared
    ]
    if loose:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(loose),
        )


def _check_v4(ctx: Context, scope: Scope, moment: str, payload: str) -> str:
    """Return the secret of the key, once the signature is found to be made with it."""
    token = key_of(ctx, scope.access)
    path, query = _sent(ctx)
    headers: Mapping[str, str] = ctx.headers
    if "content-length" in scope.signed:
        headers = {**headers, "content-length": ctx.environ.get("CONTENT_LENGTH") or ""}
    forms = signature_v4.canonical_requests(ctx.method, path, query, scope, headers, payload)
    if not signature_v4.matches(token.secret, scope, moment, forms):
        ctx.token_or_none = None
        raise S3Error("SignatureDoesNotMatch", AWSAccessKeyId=scope.access)
    return token.secret


def _check_v2(ctx: Context, access: str, signature: str, expires: str) -> None:
    token = key_of(ctx, access)
    path, query = _sent(ctx)
    below = ctx.raw_path.partition("?")[0].removeprefix(ctx.service_path) or "/"
    # with and without our prefix; a bucket with and without the slash behind it, as clients differ
    paths = tuple(dict.fromkeys((path, below, f"{below}/", f"{path}/")))
    texts = signature_v2.strings_to_sign(ctx.method, paths, query, ctx.headers, expires)
    if not signature_v2.matches(token.secret, signature, texts):
        ctx.token_or_none = None
        raise S3Error("SignatureDoesNotMatch", AWSAccessKeyId=access)


def _promise(ctx: Context, payload: str, seed: str = "", signer: Signer | None = None) -> Promise:
    if not payload.startswith(_STREAMING):
        if payload and payload != UNSIGNED and not _HEX.fullmatch(payload):
            raise S3Error(
                "InvalidArgument",
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-..., or a valid sha256 value.",
            )
        return Promise(length=ctx.content_length, sha256="" if payload == UNSIGNED else payload)
    kind, trailer = payload.removesuffix(_TRAILER), payload.endswith(_TRAILER)
    if kind == "STREAMING-UNSIGNED-PAYLOAD" and trailer:
        signer = None
    elif kind != "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" or signer is None:
        raise S3Error(
            "InvalidRequest",
            f"The value of x-amz-content-sha256 is not supported here: {payload[:80]}",
        )
    length = ctx.headers.get("x-amz-decoded-content-length", "")
    if not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise S3Error("MissingContentLength")
    return Promise(length=int(length), chunked=True, seed=seed, signer=signer, trailer=trailer)
