"""What every operation goes through: who asks, which bucket, origins of browsers, and the common headers."""

from collections.abc import Callable

import msgspec

from node.plugins.object.s3 import access, cors_rules, website_api
from node.plugins.object.s3.authentication import anonymous, authenticate
from node.plugins.object.s3.bucket_rules import check_bucket_name, check_key, find_bucket
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error, fault, host_id
from node.sdk import Context, NodeError, Reply, Route

Operation = Callable[[Call], Reply]
WEBSITE = "hedgerow.s3.website"
"""Key of the WSGI environment: the request came in by the name of a website."""


def route(
    method: str,
    path: str,
    operation: Operation,
    action: str = "",
    *,
    select: str | None = None,
    summary: str = "",
) -> Route:
    """Return the route of an operation. `action`: what the caller must be allowed on the bucket; "": it asks itself."""

    def handler(ctx: Context, bucket: str = "", key: str = "") -> Reply:
        return _served(operation, action, ctx, bucket, key)

    handler.__doc__ = operation.__doc__
    return Route(
        method=method,
        path=path,
        handler=handler,
        policy="own",
        select=select,
        stream=True,
        summary=summary or (operation.__doc__ or "").partition("\n")[0],
    )


def _served(operation: Operation, action: str, ctx: Context, bucket: str, key: str) -> Reply:
    ctx.response_headers["x-amz-request-id"] = ctx.request_id
    ctx.response_headers["x-amz-id-2"] = host_id(ctx)
    if ctx.environ.get(WEBSITE):
        return website_api.serve(ctx, bucket, key)
    origin = ctx.headers.get("origin", "")
    if not origin or ctx.method == "OPTIONS":
        return _answer(operation, action, ctx, bucket, key)
    extra = {}
    try:
        reply = _answer(operation, action, ctx, bucket, key)
    except NodeError as error:
        if error.status >= 500:
            raise
        reply = fault(ctx, error)
    found = find_bucket(ctx.db, ctx.token_or_none.project_id if ctx.token_or_none else "", bucket)
    if found is not None:
        extra = cors_rules.response_headers(found, origin, ctx.method)
    return msgspec.structs.replace(reply, headers={**reply.headers, **extra})


def _answer(operation: Operation, action: str, ctx: Context, bucket: str, key: str) -> Reply:
    # a preflight carries nobody's signature: that of the URL is for the method that follows
    body = anonymous(ctx) if ctx.method == "OPTIONS" else authenticate(ctx)
    token = ctx.token_or_none
    container = None
    if bucket:
        container = find_bucket(ctx.db, token.project_id if token is not None else "", bucket)
        if container is None and not (ctx.method == "PUT" and not key):
            check_bucket_name(bucket)
    call = Call(ctx, body, bucket, check_key(key), container)
    expected = ctx.headers.get("x-amz-expected-bucket-owner")
    if expected and container is not None and expected != container.account:
        raise S3Error("AccessDenied")
    if action:
        access.require(call, action)
    return operation(call)
