# ruff: noqa: E501 - tables of odd values read better in long lines
"""Requests that nobody would send: none of them makes Swift fail, and none shows a stranger anything.

Which requests are sent is fixed by a seed, so a commit that was green stays green.
"""

import os
import random

from tests.api.object_store.swift import BASE, OTHER, OWN, Swift

SEED = int(os.environ.get("HEDGEROW_FUZZ_SEED", "1"))
REQUESTS = int(os.environ.get("HEDGEROW_FUZZ_REQUESTS", "2500"))
SECRET = b"nobody-else-may-see-this"
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS")
PATHS = ("", "/", "/c", "/c/", "/c/o", "/c/l", "/c/slo", "/c/dlo", "/v", "/v/o", "/c//", "/c/%2F", "/none", "/none/o", "/c/a%00b", "/c/%ff", "/%ff",
         "/c/" + "n" * 1025, "/" + "n" * 257, "//", "//o", "/c/../o", "/c/%C3%BC", "/c/o%3Fx", "/secret", "/secret/o")  # fmt: skip
VALUES = ("", "0", "1", "-1", "true", "x", "c/o", "/c/o", "c/l", "v/o", "secret/o", "none/o", "%ff/%00", "*", ".r:*", ".r:", "a:b", "9" * 30, "é", "\xff", ",", ";", "=", '"',
          "bytes=0-1", "bytes=-1", "bytes=1-", "bytes=0-0,2-3", "bytes=99-", "Mon, 01 Jan 2001 00:00:00 GMT", "AUTH_project-2", "AUTH_project-1", "AUTH_", "text/plain", "a/b; charset=x",
          "multipart/form-data; boundary=x", "application/json", "text/xml;q=x", "[]", "{}", '{"admin": ["*"]}', "1e999", "inf", "nan", "2001-01-01T00:00:00Z")  # fmt: skip
HEADERS = ("X-Account-Meta-A", "X-Container-Meta-A", "X-Object-Meta-A", "X-Remove-Container-Meta-A", "X-Container-Read", "X-Container-Write", "X-Account-Access-Control",
           "X-Versions-Enabled", "X-Versions-Location", "X-History-Location", "X-Storage-Policy", "X-Container-Meta-Quota-Bytes", "X-Container-Meta-Quota-Count", "X-Account-Quota-Bytes",
           "X-Container-Meta-Web-Index", "X-Container-Meta-Web-Listings", "X-Container-Meta-Web-Error", "X-Container-Meta-Access-Control-Allow-Origin", "X-Container-Meta-Temp-Url-Key",
           "X-Web-Mode", "Origin", "Access-Control-Request-Method", "X-Delete-At", "X-Delete-After", "X-Object-Manifest", "X-Static-Large-Object", "X-Symlink-Target",
           "X-Symlink-Target-Account", "X-Symlink-Target-Etag", "X-Copy-From", "X-Copy-From-Account", "Destination", "Destination-Account", "X-Fresh-Metadata", "ETag", "If-Match",
           "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range", "Content-Type", "Content-Encoding", "Content-Disposition", "X-Detect-Content-Type", "Accept",
           "Referer", "X-Newest", "Transfer-Encoding")  # fmt: skip
QUERIES = ("format", "limit", "marker", "end_marker", "prefix", "delimiter", "path", "reverse", "versions", "version-id", "version_marker", "multipart-manifest", "symlink",
           "bulk-delete", "extract-archive", "temp_url_sig", "temp_url_expires", "temp_url_prefix", "temp_url_ip_range", "filename", "inline", "heartbeat")  # fmt: skip
QUERY_VALUES = ("", "0", "1", "-1", "10001", "json", "xml", "plain", "x", "true", "get", "put", "delete", "raw", "tar", "tar.gz", "tar.bz2", "null", "%ff", "%00", "/", "a%2F", "%C3%BC",
                "sha1:x", "9" * 30, "127.0.0.1")  # fmt: skip
BODIES = (b"", b"x", b"[]", b"{}", b"[1]", b"\xff\xfe", b"/c/o\n/none", b"%ff\n%00", b'[{"path": "/c/o"}]', b'[{"path": "/secret/o"}, {"data": "YQ=="}]', b'[{"path": "c/o", "range": "0-0"}]',
          b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--", b"--x\r\n", b"x" * 70_000, b"\x1f\x8b\x08", b"BZh9")  # fmt: skip


def drawn(swift: Swift, dice: random.Random) -> tuple[str, str, str, dict[str, str], bytes]:
    method, path = dice.choice(METHODS), dice.choice(PATHS)
    headers = {dice.choice(HEADERS): dice.choice(VALUES) for _n in range(dice.choice((0, 0, 1, 1, 2, 4)))}
    if headers.get("Transfer-Encoding") not in (None, "chunked"):
        headers["Transfer-Encoding"] = "chunked"
    query = "&".join(f"{dice.choice(QUERIES)}={dice.choice(QUERY_VALUES)}" for _n in range(dice.choice((0, 0, 1, 1, 3))))
    token = dice.choice((swift.owner, swift.owner, swift.owner, swift.other, swift.reader, ""))
    account = dice.choice((OWN, OWN, OWN, OTHER))
    url = f"{BASE}/AUTH_{account}{path}" + (f"?{query}" if query else "")
    body = dice.choice(BODIES) if method in ("PUT", "POST") and dice.random() < 0.6 else b""
    if not body:
        headers["Content-Length"] = "0"
    return method, url, token, headers, body


def furnish(swift: Swift) -> None:
    for path in ("/c", "/v"):
        swift.ask("PUT", path)
    swift.ask("POST", "/v", x_versions_enabled="true")
    swift.ask("PUT", "/v/o", body=b"1")
    swift.ask("PUT", "/c/o", body=b"0123456789")
    swift.ask("PUT", "/c/l", x_symlink_target="c/o")
    swift.ask("PUT", "/c/dlo", x_object_manifest="c/o")
    swift.ask("PUT", "/c/slo?multipart-manifest=put", body=b'[{"path": "/c/o"}]')
    swift.ask("PUT", "/secret", account="project-9", token=swift.reseller)
    swift.ask("PUT", "/secret/o", account="project-9", token=swift.reseller, body=SECRET)


def test_no_request_makes_it_fail(swift: Swift) -> None:
    dice = random.Random(SEED)
    for number in range(REQUESTS):
        if number % 100 == 0:
            furnish(swift)
        method, url, token, headers, body = drawn(swift, dice)
        answer = swift.cloud.request(method, url, token=token, headers=headers, body=body or None)
        shown = (SEED, number, method, url, headers, body[:80])
        assert answer.status < 500, (*shown, answer.status, answer.body[:200])
        assert SECRET not in answer.body, shown
        if not token and method in ("PUT", "POST", "DELETE", "COPY"):
            assert answer.status >= 400 or b"401 Unauthorized" in answer.body or "extract" in url or "bulk" in url, shown
    assert swift.get("/secret/o", account="project-9", token=swift.reseller).body == SECRET
