"""Names of buckets, and which container a name means to whom."""

import ipaddress
import re
from collections.abc import Sequence

from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.tables import BucketName
from node.plugins.object.tables import Container
from node.sdk import AnyOp, Reader, check, delete, insert

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
MAX_KEY_BYTES = 1024


def check_bucket_name(name: str) -> None:
    """Refuse what S3 takes for no name.

    Raises:
        S3Error: InvalidBucketName.
    """
    if (
        not _NAME.fullmatch(name)
        or any(pair in name for pair in ("..", ".-", "-."))
        or name.startswith(_PREFIXES)
        or name.endswith(_SUFFIXES)
        or _is_address(name)
    ):
        raise S3Error("InvalidBucketName", BucketName=name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return bool(re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name))
    return True


def check_key(key: str) -> str:
    """Return the key.

    Raises:
        S3Error: KeyTooLongError, or InvalidURI where it is not UTF-8.
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise S3Error("InvalidURI", "The key is not UTF-8.") from error
    if size > MAX_KEY_BYTES:
        raise S3Error("KeyTooLongError", Size=size, MaxSizeAllowed=MAX_KEY_BYTES)
    return key


def find_bucket(db: Reader, project_id: str, name: str) -> Container | None:
    """Return the caller's own container of that name, or the bucket that has claimed the name."""
    if project_id:
        own = db.one(Container, account=project_id, name=name)
        if own is not None:
            return None if own.closing else own
    return claimed(db, name)


def claimed(db: Reader, name: str) -> Container | None:
    """Return the bucket that has claimed a name."""
    claim = db.get(BucketName, name)
    found = db.get(Container, claim.container_id) if claim is not None else None
    return found if found is not None and not found.closing else None


def claim_ops(db: Reader, name: str, container_id: str, now_us: int) -> Sequence[AnyOp]:
    """Return operations that claim a name, taking over a claim whose container is gone.

    Raises:
        S3Error: BucketAlreadyExists.
    """
    row = BucketName(id=name, container_id=container_id, created_at=now_us, updated_at=now_us)
    old = db.get(BucketName, name)
    if old is None:
        return [insert(row)]
    if db.get(Container, old.container_id) is not None:
        raise S3Error("BucketAlreadyExists", BucketName=name)
    return [check(old), delete(BucketName, name), insert(row)]


def release_ops(db: Reader, container: Container) -> Sequence[AnyOp]:
    """Return operations that give a name free."""
    claim = db.get(BucketName, container.name)
    if claim is None or claim.container_id != container.id:
        return []
    return [delete(BucketName, claim.id)]
