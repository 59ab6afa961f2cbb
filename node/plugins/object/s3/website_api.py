"""Serves a bucket's website: pages, redirects and errors for browsers, to everybody who may read the objects.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteEndpoints.html
"""

from html import escape
from urllib.parse import quote

from node.plugins.object.s3 import access, condition_headers, range_rules, website_rules
from node.plugins.object.s3.authentication import anonymous
from node.plugins.object.s3.bucket_rules import claimed
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.object_rules import entry_headers
from node.plugins.object.s3.website_rules import RoutingRule, Website
from node.plugins.object.store.contract import Entry
from node.sdk import Context, NodeError, Reply


def serve(ctx: Context, name: str, key: str) -> Reply:
    """Answer a browser."""
    ctx.token_or_none = None
    container = claimed(ctx.db, name)
    call = Call(ctx, anonymous(ctx), name, key, container)
    website = None
    try:
        if ctx.method not in ("GET", "HEAD"):
            raise S3Error("MethodNotAllowed")
        text = call.document("website")
        if not text:
            raise S3Error("NoSuchWebsiteConfiguration", BucketName=name)
        website = website_rules.loaded(text)
        return _page(call, website)
    except NodeError as error:
        if error.status == 304:
            raise
        return _failed(call, website, error)


def _redirect(call: Call, rule: RoutingRule, key: str) -> Reply:
    scheme, _sep, host = call.ctx.base_url.partition("://")
    location = rule.location(scheme, call.header("host") or host, quote(key))
    return Reply(
        body=b"", status=rule.status, headers={"Location": location}, content_type="text/html"
    )


def _page(call: Call, website: Website) -> Reply:
    if website.everything is not None:
        return _redirect(call, website.everything, call.key)
    for rule in website.rules:
        if rule.fits(call.key, ""):
            return _redirect(call, rule, call.key)
    key = website_rules.index_key(website, call.key)
    try:
        entry = _readable(call, key)
    except S3Error:
        if key != call.key or not _is_folder(call, website, key):
            raise
        return _to_folder(key)
    if entry is None and key == call.key and _is_folder(call, website, key):
        return _to_folder(key)
    if entry is None:
        raise S3Error("NoSuchKey", Key=key)
    redirect = entry.sys.get("s3-redirect")
    if redirect:
        return Reply(body=b"", status=301, headers={"Location": redirect}, content_type="text/html")
    condition_headers.check_read(call.headers, entry)
    return _content(call, entry, 200)


def _is_folder(call: Call, website: Website, key: str) -> bool:
    """Return whether a page is shown with a slash behind the path, and nothing without it."""
    if call.store.head(call.bucket.id, key) is not None:
        return False
    try:
        return _readable(call, f"{key}/{website.index}") is not None
    except S3Error:
        return False


def _to_folder(key: str) -> Reply:
    headers = {"Location": f"/{quote(key)}/"}
    return Reply(body=b"", status=302, headers=headers, content_type="text/html")


def _readable(call: Call, key: str) -> Entry | None:
    """Return an object that everybody may read, or None where there is none.

    Raises:
        S3Error: AccessDenied.
    """
    entry = call.store.head(call.bucket.id, key)
    if not access.allows(call, "s3:GetObject", entry, key=key, container=call.bucket):
        if entry is None and access.allows(call, "s3:ListBucket", key="", container=call.bucket):
            return None
        raise S3Error("AccessDenied")
    if entry is not None and "s3-ssec-check" in entry.sys:
        raise S3Error("AccessDenied")
    return entry


def _content(call: Call, entry: Entry, status: int) -> Reply:
    headers = entry_headers(entry)
    span = range_rules.span_of(call.header("range"), entry.size_bytes) if status == 200 else None
    first, length = (span.first, span.length) if span else (0, entry.size_bytes)
    if span is not None:
        headers["Content-Range"] = span.header
        status = 206
    body = (
        call.store.read(entry, first, length) if length and call.ctx.method == "GET" else iter(())
    )
    return Reply(
        body=body,
        length_bytes=length,
        status=status,
        headers=headers,
        content_type=entry.content_type,
    )


def _failed(call: Call, website: Website | None, error: NodeError) -> Reply:
    """Return the page of an error: a redirect, the bucket's own, or a plain one."""
    for rule in website.rules if website is not None else ():
        if rule.error == str(error.status) and call.key.startswith(rule.prefix):
            return _redirect(call, rule, call.key)
    if website is not None and website.error and 400 <= error.status < 500:
        try:
            own = _readable(call, website.error)
        except S3Error:
            own = None
        if own is not None:
            return _content(call, own, error.status)
    code = error.code if isinstance(error, S3Error) else "InternalError"
    title = f"{error.status} {error.title if not isinstance(error, S3Error) else code}"
    lines = {"Code": code, "Message": error.message, "RequestId": call.ctx.request_id}
    inner = "".join(f"<li>{escape(name)}: {escape(value)}</li>" for name, value in lines.items())
    page = (
        f"<html><head><title>{escape(title)}</title></head>"
        f"<body><h1>{escape(title)}</h1><ul>{inner}</ul></body></html>"
    )
    return Reply(body=page.encode(), status=error.status, content_type="text/html; charset=utf-8")
