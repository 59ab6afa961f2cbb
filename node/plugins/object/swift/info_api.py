"""What this service can do, and whether it lives.

Source: https://docs.openstack.org/api-ref/object-store/#list-activated-capabilities
"""

import hmac
from typing import Any

from node.plugins.object import container_rules
from node.plugins.object.swift import limit_rules
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.swift.section import SwiftSection
from node.plugins.object.tables import StoragePolicy
from node.sdk import Context, Reply

_TEMPURL = {
    "methods": ["GET", "HEAD", "PUT", "POST", "DELETE"],
    "incoming_remove_headers": [],
    "incoming_allow_headers": [],
    "outgoing_remove_headers": ["x-object-meta-*"],
    "outgoing_allow_headers": ["x-object-meta-public-*"],
}


_VERSION = "2.36.0"
"""The release of Swift whose API this is."""


def info(ctx: Context, **_path: str) -> Reply:
    """List what this service can do and its limits; to an administrator with a signature, all of it.

    Raises:
        Refusal: 401, the signature is forged or too old; 403, there is no key for one.
    """
    found = _capabilities(ctx)
    if ctx.param("swiftinfo_sig") or ctx.param("swiftinfo_expires"):
        _hold_signature(ctx)
        found["admin"] = {"disallowed_sections": []}
    origin = ctx.headers.get("origin", "")
    headers = (
        {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "x-trans-id"}
        if origin
        else {}
    )
    return Reply(
        status=200, body=found, headers=headers, content_type="application/json; charset=UTF-8"
    )


def _hold_signature(ctx: Context) -> None:
    key = ctx.config.section(SwiftSection).info_admin_key
    if not key:
        raise Refusal(403)
    expires = ctx.param("swiftinfo_expires") or ""
    if not (expires.isascii() and expires.isdigit()):
        raise Refusal(401)
    if int(expires) < ctx.clock.now_us() // 1_000_000:
        raise Refusal(401)
    methods = ("GET", "HEAD") if ctx.method == "HEAD" else ("GET",)
    given = ctx.param("swiftinfo_sig") or ""
    for method in methods:
        text = f"{method}\n{expires}\n/info"
        for digest in ("sha1", "sha256", "sha512"):
            wanted = hmac.new(key.encode(), text.encode(), digest).hexdigest()
            if hmac.compare_digest(wanted.encode(), given.encode()):
                return
    raise Refusal(401)


def options(_ctx: Context, **_path: str) -> Reply:
    """Say what may be asked here."""
    return Reply(
        status=200, body=b"", headers={"Allow": "GET, HEAD, OPTIONS"}, content_type="text/plain"
    )


def _capabilities(ctx: Context) -> dict[str, Any]:
    section = ctx.config.section(SwiftSection)
    default = container_rules.default_policy(ctx.db)
    policies = [
        {"name": row.name, "aliases": ", ".join([row.name, *row.aliases])}
        | ({"default": True} if default and row.id == default.id else {})
        for row in ctx.db.rows(StoragePolicy)
        if not row.deprecated
    ]
    return {
        "swift": {
            "version": _VERSION,
            "strict_cors_mode": True,
            "policies": policies,
            "allow_account_management": True,
            "account_autocreate": True,
            "max_file_size": section.max_file_size_bytes,
            "max_meta_name_length": limit_rules.MAX_META_NAME,
            "max_meta_value_length": limit_rules.MAX_META_VALUE,
            "max_meta_count": section.max_meta_count,
            "max_meta_overall_size": section.max_meta_overall_bytes,
            "max_header_size": limit_rules.MAX_HEADER,
            "max_object_name_length": limit_rules.MAX_OBJECT_NAME,
            "container_listing_limit": limit_rules.LISTING_LIMIT,
            "account_listing_limit": limit_rules.LISTING_LIMIT,
            "max_account_name_length": limit_rules.MAX_ACCOUNT_NAME,
            "max_container_name_length": limit_rules.MAX_CONTAINER_NAME,
            "extra_header_count": 0,
            "valid_api_versions": ["v1"],
        },
        **_middlewares(section),
    }


def _middlewares(section: SwiftSection) -> dict[str, Any]:
    digests = sorted(section.tempurl_digests.split())
    return {
        "account_quotas": {},
        "bulk_delete": {
            "max_deletes_per_request": section.max_bulk_names,
            "max_failed_deletes": section.max_bulk_failures,
        },
        "bulk_upload": {
            "max_containers_per_extraction": section.max_bulk_names,
            "max_failed_extractions": section.max_bulk_failures,
        },
        "container_quotas": {},
        "cors": {},
        "crossdomain": {},
        "dlo": {"max_segments": limit_rules.LISTING_LIMIT},
        "formpost": {"allowed_digests": digests},
        "object_versioning": {},
        "slo": {
            "max_manifest_segments": section.max_segments,
            "max_manifest_size": section.max_manifest_bytes,
            "min_segment_size": 1,
            "yield_frequency": 10,
        },
        "staticweb": {},
        "symlink": {"symloop_max": 2, "static_links": True},
        "tempurl": {**_TEMPURL, "allowed_digests": digests},
        "versioned_writes": {"allowed_flags": ["x-versions-location", "x-history-location"]},
        "ratelimit": {
            "account_ratelimit": section.account_writes_per_s,
            "container_ratelimits": [],
            "max_sleep_time_seconds": section.rate_wait_s,
        },
    }


def healthcheck(_ctx: Context, **_path: str) -> Reply:
    """Say that this process serves requests."""
    return Reply(status=200, body=b"OK", content_type="text/plain")


def crossdomain(ctx: Context, **_path: str) -> Reply:
    """Say which pages old browser plug-ins may let ask here: none, unless the configuration names some."""
    policy = ctx.config.section(SwiftSection).cross_domain_policy
    inner = f"{policy}\n" if policy else ""
    text = (
        '<?xml version="1.0"?>\n<!DOCTYPE cross-domain-policy SYSTEM '
        '"http://www.adobe.com/xml/dtds/cross-domain-policy.dtd" >\n'
        f"<cross-domain-policy>\n{inner}</cross-domain-policy>"
    )
    return Reply(status=200, body=text.encode(), content_type="application/xml")
