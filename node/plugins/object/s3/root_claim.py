"""Which requests at the root of the port, or under a name of S3's own, are S3's.

Clients that know no path prefix (s3cmd, names of buckets as host names) speak to the root. A request is S3's there if
its host says so, or if it carries what only S3 has: an Authorization of Amazon's, or a signed query of theirs. No
other service of the cloud takes either, so nothing is taken away from them.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from node.plugins.object.s3.operation import WEBSITE
from node.plugins.object.s3.section import S3Section
from node.sdk import Config

PREFIX = "/s3"
_SIGNED = ("X-Amz-Signature=", "AWSAccessKeyId=", "X-Amz-Credential=")


def claim(environ: Mapping[str, Any], config: Config) -> tuple[str, Mapping[str, str]] | None:
    """Return the path below the port at which S3 serves a request, and what to add to its environment.

    None: it is not S3's, or it names S3's path itself.
    """
    section = config.section(S3Section)
    raw = str(
        environ.get("RAW_URI") or quote(str(environ.get("PATH_INFO", "/")), encoding="latin-1")
    )
    path = raw.partition("?")[0]
    if section.domain or section.website_domain:
        host = _host_of(environ)
        for domain, more in ((section.domain, {}), (section.website_domain, {WEBSITE: "1"})):
            bucket = host.removesuffix(f".{domain}") if domain else host
            if domain and bucket != host:
                return f"{PREFIX}/{bucket}{path}", more
            if domain and host == domain and not more:
                return PREFIX + path, more
    if path == PREFIX or path.startswith(PREFIX + "/"):
        return None
    if str(environ.get("HTTP_AUTHORIZATION", "")).startswith(("AWS4-HMAC-SHA256", "AWS ")):
        return PREFIX + path, {}
    query = str(environ.get("QUERY_STRING", ""))
    if any(mark in query for mark in _SIGNED):
        return PREFIX + path, {}
    return None


def _host_of(environ: Mapping[str, Any]) -> str:
    host = str(environ.get("HTTP_HOST", "")).lower()
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
