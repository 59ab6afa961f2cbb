"""What is said of an object: headers into entries, and entries into headers.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

from collections.abc import Mapping
from urllib.parse import quote

from node.plugins.object.s3 import checksums
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.xml_text import http_time
from node.plugins.object.store.contract import Entry

META = "x-amz-meta-"
MAX_META_BYTES = 2048
MAX_PUT_BYTES = 5 << 30
DEFAULT_TYPE = "binary/octet-stream"
SYSTEM = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")
CLASSES = (
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "SNOW",
    "EXPRESS_ONEZONE",
)
OVERRIDES = {
    "response-content-type": "Content-Type",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
}


def text_of(value: str) -> str:
    """Return a header's value as the text that was meant: clients send UTF-8, WSGI gives latin-1."""
    if value.isascii():
        return value
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def meta_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the user's metadata of a request.

    Raises:
        S3Error: MetadataTooLarge.
    """
    meta = {
        name[len(META) :]: text_of(value)
        for name, value in headers.items()
        if name.startswith(META) and len(name) > len(META)
    }
    size = sum(len(name.encode()) + len(value.encode()) for name, value in meta.items())
    if size > MAX_META_BYTES:
        raise S3Error("MetadataTooLarge", Size=size, MaxSizeAllowed=MAX_META_BYTES)
    return meta


def sys_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what else the headers of an upload say.

    Raises:
        S3Error: InvalidStorageClass, InvalidRequest.
    """
    sys = {name: text_of(headers[name]) for name in SYSTEM if headers.get(name)}
    if "content-encoding" in sys:
        codings = [c.strip() for c in sys["content-encoding"].split(",")]
        kept = ",".join(coding for coding in codings if coding != "aws-chunked")
        sys.pop("content-encoding")
        if kept:
            sys["content-encoding"] = kept
    storage_class = headers.get("x-amz-storage-class")
    if storage_class is not None:
        if storage_class not in CLASSES:
            raise S3Error("InvalidStorageClass", "The storage class you specified is not valid")
        if storage_class != "STANDARD":
            sys["s3-class"] = storage_class
    redirect = headers.get("x-amz-website-redirect-location")
    if redirect is not None:
        if not redirect.startswith(("/", "http://", "https://")) or len(redirect) > 2048:
            raise S3Error(
                "InvalidRequest",
                "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
            )
        sys["s3-redirect"] = text_of(redirect)
    return sys


def content_type_of(headers: Mapping[str, str]) -> str:
    """Return the content type of an upload."""
    return text_of(headers.get("content-type", "")) or DEFAULT_TYPE


def entry_headers(entry: Entry) -> dict[str, str]:
    """Return the headers that GET and HEAD have alike."""
    headers = {
        "ETag": f'"{entry.etag}"',
        "Last-Modified": http_time(entry.modified_at),
        "Accept-Ranges": "bytes",
    }
    sys = entry.sys
    for name in SYSTEM:
        if name in sys:
            headers[name.title()] = sys[name]
    for name, value in entry.meta.items():
        headers[META + name] = value
    for name, key in (
        ("x-amz-website-redirect-location", "s3-redirect"),
        ("x-amz-storage-class", "s3-class"),
        ("x-amz-object-lock-mode", "s3-lock-mode"),
        ("x-amz-object-lock-retain-until-date", "s3-lock-until"),
        ("x-amz-object-lock-legal-hold", "s3-hold"),
    ):
        if key in sys:
            headers[name] = sys[key]
    if sys.get("s3-tags"):
        headers["x-amz-tagging-count"] = str(sys["s3-tags"].count("&") + 1)
    if entry.version_id != "null" or sys.get("s3-versioned"):
        headers["x-amz-version-id"] = entry.version_id
    headers |= encryption_headers(sys)
    if entry.expires_at is not None:
        headers["x-amz-expiration"] = (
            f'expiry-date="{http_time(entry.expires_at)}", rule-id="expires-at"'
        )
    return headers


def encryption_headers(sys: Mapping[str, str]) -> dict[str, str]:
    """Return what answers say of how an object is kept."""
    if "s3-sse" in sys:
        return {"x-amz-server-side-encryption": sys["s3-sse"]}
    if "s3-ssec-md5" in sys:
        return {
            "x-amz-server-side-encryption-customer-algorithm": "AES256",
            "x-amz-server-side-encryption-customer-key-MD5": sys["s3-ssec-md5"],
        }
    return {}


def checksum_headers(sys: Mapping[str, str]) -> dict[str, str]:
    """Return the checksum of an object as headers; empty where it has none."""
    found = checksum_of(sys)
    if found is None:
        return {}
    algorithm, value, kind = found
    return {checksums.PREFIX + algorithm: value, "x-amz-checksum-type": kind}


def checksum_of(sys: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Return (algorithm, value, type) of an object's checksum."""
    text = sys.get("s3-checksum", "")
    if not text:
        return None
    algorithm, value, kind = text.split(":", 2)
    return algorithm, value, kind


def checksum_text(algorithm: str, value: str, kind: str = checksums.FULL_OBJECT) -> dict[str, str]:
    """Return the entry of `sys` that keeps a checksum."""
    return {"s3-checksum": f"{algorithm}:{value}:{kind}"} if algorithm else {}


def part_sizes(sys: Mapping[str, str]) -> list[int]:
    """Return the sizes of the parts of an object that was uploaded in parts."""
    sizes: list[int] = []
    for run in filter(None, sys.get("s3-parts", "").split(",")):
        size, _star, count = run.partition("*")
        sizes += [int(size)] * int(count or "1")
    return sizes


def part_sizes_text(sizes: list[int]) -> str:
    """Return sizes as they are kept: runs of equal ones are short."""
    runs: list[list[int]] = []
    for size in sizes:
        if runs and runs[-1][0] == size:
            runs[-1][1] += 1
        else:
            runs.append([size, 1])
    return ",".join(f"{size}*{count}" if count > 1 else str(size) for size, count in runs)


def url_encoded(text: str) -> str:
    """Return a name as listings with `encoding-type=url` have it."""
    return quote(text, safe="/-_.~*")
