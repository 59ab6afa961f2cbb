"""Uploads by browser forms.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
"""

import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from node.plugins.object.s3 import (
    access,
    events,
    post_policy,
    signature_v2,
    signature_v4,
    tag_rules,
)
from node.plugins.object.s3.authentication import key_of
from node.plugins.object.s3.body import Body, Promise
from node.plugins.object.s3.bucket_rules import check_key, find_bucket
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.form_input import Form
from node.plugins.object.s3.object_write_api import Wish, store, written_headers
from node.plugins.object.s3.xml_input import parse
from node.plugins.object.s3.xml_text import document
from node.plugins.object.store.contract import ANY, Entry
from node.sdk import Reply

_PLAIN = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "content-md5",
)


class _Limited:
    """The file of a form, held to the limits of its policy."""

    def __init__(self, form: Form, limits: post_policy.Limits) -> None:
        self._form = form
        self._limits = limits
        self._size = 0

    def readinto(self, view: memoryview) -> int:
        got = self._form.readinto(view)
        self._size += got
        if self._size > self._limits.most:
            raise S3Error(
                "EntityTooLarge", ProposedSize=self._size, MaxSizeAllowed=self._limits.most
            )
        if not got and self._size < self._limits.least:
            raise S3Error(
                "EntityTooSmall", ProposedSize=self._size, MinSizeAllowed=self._limits.least
            )
        return got


def post_object(call: Call) -> Reply:
    """Store the file of a form."""
    ctx = call.ctx
    form = Form(ctx.stream, ctx.headers.get("content-type", ""))
    fields = form.fields
    if "key" not in fields or not fields["key"]:
        raise S3Error(
            "InvalidArgument",
            "Bucket POST must contain a field named 'key' before the file.",
            ArgumentName="key",
            ArgumentValue="",
        )
    fields["key"] = fields["key"].replace("${filename}", form.filename)
    limits = _signed(call, fields)
    token = ctx.token_or_none
    container = find_bucket(ctx.db, token.project_id if token is not None else "", call.name)
    ctx.headers = _headers(ctx.headers, fields, form)
    body = Body(_Limited(form, limits), ctx.headers, Promise(length=ctx.content_length))
    inner = Call(ctx, body, call.name, check_key(fields["key"]), container)
    access.require(inner, "s3:PutObject")
    entry = store(inner, Wish(inner), None, condition=ANY)
    events.record(inner, "s3:ObjectCreated:Post", entry)
    return _answer(inner, entry, fields)


def _signed(call: Call, fields: Mapping[str, str]) -> post_policy.Limits:
    """Find out who signed the form, and return the limits of its policy."""
    policy = fields.get("policy", "")
    ctx = call.ctx
    if not policy:
        if any(name in fields for name in ("x-amz-signature", "signature")):
            raise S3Error(
                "InvalidArgument",
                "Bucket POST must contain a field named 'policy'.",
                ArgumentName="policy",
                ArgumentValue="",
            )
        return post_policy.Limits()
    if "x-amz-signature" in fields or "x-amz-credential" in fields:
        if fields.get("x-amz-algorithm") != signature_v4.ALGORITHM:
            raise S3Error(
                "InvalidArgument",
                "X-Amz-Algorithm only supports AWS4-HMAC-SHA256.",
                ArgumentName="x-amz-algorithm",
            )
        scope = signature_v4.scope_of(
            fields.get("x-amz-credential", ""),
            "host",
            fields.get("x-amz-signature", ""),
            "InvalidArgument",
        )
        wanted = signature_v4.sign(key_of(ctx, scope.access).secret, scope, policy.encode())
        fits = hmac.compare_digest(wanted, scope.signature)
    elif "awsaccesskeyid" in fields and "signature" in fields:
        wanted = signature_v2.sign(key_of(ctx, fields["awsaccesskeyid"]).secret, policy)
        fits = hmac.compare_digest(wanted.encode(), fields["signature"].encode())
    else:
        raise S3Error(
            "InvalidArgument",
            "Bucket POST must contain a field named 'AWSAccessKeyId' before the file.",
            ArgumentName="AWSAccessKeyId",
            ArgumentValue="",
        )
    if not fits:
        ctx.token_or_none = None
        raise S3Error("SignatureDoesNotMatch")
    return post_policy.check(policy, {**fields, "bucket": call.name}, ctx.now())


def _headers(old: Mapping[str, str], fields: Mapping[str, str], form: Form) -> dict[str, str]:
    """Return the headers that an upload with these fields would have had."""
    kept = {name: old[name] for name in ("host", "origin", "referer", "user-agent") if name in old}
    signing = (
        "x-amz-signature",
        "x-amz-credential",
        "x-amz-algorithm",
        "x-amz-date",
        "x-amz-security-token",
    )
    found = {
        n: _wire(v)
        for n, v in fields.items()
        if n in _PLAIN or (n.startswith("x-amz-") and n not in signing)
    }
    if "acl" in fields:
        found["x-amz-acl"] = fields["acl"]
    if "tagging" in fields:
        tags = tag_rules.of_xml(parse(fields["tagging"], "Tagging"), tag_rules.MAX_OBJECT_TAGS)
        found["x-amz-tagging"] = urlencode(tags)
    found.setdefault("content-type", form.content_type)
    return {**kept, **found}


def _wire(text: str) -> str:
    """Return text as WSGI would have given it."""
    return text.encode().decode("latin-1").replace("\0", "")


def _answer(call: Call, entry: Entry, fields: Mapping[str, str]) -> Reply:
    ctx = call.ctx
    location = f"{ctx.base_url}{ctx.service_path}/{call.name}/{quote(call.key)}"
    headers = {**written_headers(call, entry), "Location": location}
    target = fields.get("success_action_redirect") or fields.get("redirect", "")
    if target.startswith(("http://", "https://")):
        parts = urlsplit(target)
        query = [
            *parse_qsl(parts.query, keep_blank_values=True),
            ("bucket", call.name),
            ("key", call.key),
            ("etag", f'"{entry.etag}"'),
        ]
        headers["Location"] = parts._replace(query=urlencode(query)).geturl()
        return Reply(body=b"", status=303, headers=headers)
    status = fields.get("success_action_status", "")
    if status == "201":
        tree = [
            ("Location", location),
            ("Bucket", call.name),
            ("Key", call.key),
            ("ETag", f'"{entry.etag}"'),
        ]
        return Reply(
            body=document("PostResponse", tree),
            status=201,
            headers=headers,
            content_type="application/xml",
        )
    return Reply(status=200 if status == "200" else 204, headers=headers)
