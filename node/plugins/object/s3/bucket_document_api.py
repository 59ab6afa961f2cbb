"""The bucket's documents: CORS, lifecycle, website, notification, tags, versioning, lock, and what is never set.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketCors.html
"""

from collections.abc import Callable, Sequence

from node.plugins.object import container_rules
from node.plugins.object.s3 import (
    cors_rules,
    events,
    lifecycle_rules,
    lock_rules,
    notification_rules,
    tag_rules,
    website_rules,
)
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.xml_input import Element, parse
from node.plugins.object.s3.xml_text import document
from node.plugins.object.tables import Container
from node.sdk import NotFound, Reply

Operation = Callable[[Call], Reply]
_Read = Callable[[Element], object]


def getter(name: str, missing: str) -> Operation:
    """Return the operation that shows a document as it was set."""

    def get(call: Call) -> Reply:
        text = call.document(name)
        if not text:
            raise S3Error(missing, BucketName=call.name)
        return call.xml(text.encode())

    get.__doc__ = f"Show the bucket's {name}."
    return get


def setter(name: str, root: str, read: _Read) -> Operation:
    """Return the operation that sets a document which `read` accepts."""

    def put(call: Call) -> Reply:
        found = parse(call.read_document(), root)
        read(found)
        call.change_bucket(**{f"s3-{name}": document(root, found.tree()).decode()})
        return Reply()

    put.__doc__ = f"Set the bucket's {name}."
    return put


def remover(name: str) -> Operation:
    """Return the operation that takes a document away."""

    def remove(call: Call) -> Reply:
        call.change_bucket(**{f"s3-{name}": None})
        return Reply(status=204)

    remove.__doc__ = f"Take the bucket's {name} away."
    return remove


get_cors = getter("cors", "NoSuchCORSConfiguration")
put_cors = setter("cors", "CORSConfiguration", cors_rules.read)
delete_cors = remover("cors")
get_lifecycle = getter("lifecycle", "NoSuchLifecycleConfiguration")
put_lifecycle = setter("lifecycle", "LifecycleConfiguration", lifecycle_rules.read)
delete_lifecycle = remover("lifecycle")
get_website = getter("website", "NoSuchWebsiteConfiguration")
put_website = setter("website", "WebsiteConfiguration", website_rules.read)
delete_website = remover("website")
get_encryption = getter("encryption", "ServerSideEncryptionConfigurationNotFoundError")
get_replication = getter("replication", "ReplicationConfigurationNotFoundError")


def get_notification(call: Call) -> Reply:
    """Show which events are told to whom."""
    text = call.document("notification")
    return call.xml(text.encode() if text else document("NotificationConfiguration", []))


def put_notification(call: Call) -> Reply:
    """Say which events are told to whom."""
    root = parse(call.read_document(), "NotificationConfiguration")
    targets = notification_rules.read(root)
    if not targets:
        call.change_bucket(s3_notification=None)
        return Reply()
    text = document("NotificationConfiguration", notification_rules.with_ids(root)).decode()
    call.change_bucket(s3_notification=text)
    if call.header("x-amz-skip-destination-validation").lower() != "true":
        events.record_test(call, targets)
    return Reply()


def get_tags(call: Call) -> Reply:
    """Show the bucket's tags."""
    if not call.bucket.sys.get("s3-tags"):
        raise S3Error("NoSuchTagSet", BucketName=call.name)
    return call.xml(tag_rules.to_xml(tag_rules.read(call.bucket.sys)))


def put_tags(call: Call) -> Reply:
    """Replace the bucket's tags."""
    tags = tag_rules.of_xml(parse(call.read_document(), "Tagging"), tag_rules.MAX_BUCKET_TAGS)
    call.change_bucket(s3_tags=tag_rules.kept(tags).get("s3-tags"))
    return Reply(status=204)


delete_tags = remover("tags")


def get_versioning(call: Call) -> Reply:
    """Say whether the bucket keeps versions."""
    text = call.bucket.versioning.title()
    return call.xml(document("VersioningConfiguration", [("Status", text or None)]))


def put_versioning(call: Call) -> Reply:
    """Have the bucket keep versions from now on, or not."""
    root = parse(call.read_document(), "VersioningConfiguration")
    status = root.value("Status").lower()
    if root.value("MfaDelete").lower() == "enabled":
        raise S3Error("NotImplemented")
    if status not in ("enabled", "suspended"):
        raise S3Error("MalformedXML" if status else "IllegalVersioningConfigurationException")
    if status == "suspended" and lock_rules.has_lock(call.bucket):
        raise S3Error(
            "InvalidBucketState",
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
        )
    _change(call, {"versioning": status})
    return Reply()


def _change(call: Call, changes: dict[str, object]) -> None:
    import msgspec

    def edit(row: Container) -> Container:
        return msgspec.structs.replace(row, updated_at=call.ctx.now(), **changes)

    try:
        container_rules.change(call.ctx, call.bucket.id, edit)
    except NotFound as error:
        raise S3Error("NoSuchBucket", BucketName=call.name) from error


def get_lock(call: Call) -> Reply:
    """Show how new objects are locked."""
    if not lock_rules.has_lock(call.bucket):
        raise S3Error("ObjectLockConfigurationNotFoundError", BucketName=call.name)
    default = lock_rules.default_of(call.bucket)
    rule = None
    if default is not None:
        rule = [("DefaultRetention", [("Mode", default.mode), (default.unit, default.count)])]
    return call.xml(
        document("ObjectLockConfiguration", [("ObjectLockEnabled", "Enabled"), ("Rule", rule)])
    )


def put_lock(call: Call) -> Reply:
    """Say how new objects are locked."""
    text = lock_rules.configuration(parse(call.read_document(), "ObjectLockConfiguration"))
    if call.bucket.versioning != "enabled":
        raise S3Error(
            "InvalidBucketState",
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
        )
    call.change_bucket(s3_lock=text)
    return Reply()


def put_encryption(call: Call) -> Reply:
    """Refuse: the store does not encrypt by itself.

    Raises:
        S3Error: NotImplemented.
    """
    parse(call.read_document(), "ServerSideEncryptionConfiguration")
    raise S3Error(
        "NotImplemented",
        "The store does not encrypt by itself: send a key of your own with each request.",
    )


delete_encryption = remover("encryption")


def fixed(root: str, tree: Sequence[tuple[str, str]] = ()) -> Operation:
    """Return the operation that shows what is the same for every bucket."""

    def get(call: Call) -> Reply:
        return call.xml(document(root, tree))

    get.__doc__ = f"Show the {root}, which is the same for every bucket."
    return get


def accepts(root: str, harmless: Callable[[Element], bool]) -> Operation:
    """Return the operation that takes a document that changes nothing, and refuses every other."""

    def put(call: Call) -> Reply:
        if not harmless(parse(call.read_document(), root)):
            raise S3Error("NotImplemented")
        return Reply()

    put.__doc__ = f"Take a {root} that changes nothing; refuse every other."
    return put


get_payment = fixed("RequestPaymentConfiguration", [("Payer", "BucketOwner")])
put_payment = accepts(
    "RequestPaymentConfiguration", lambda root: root.value("Payer") == "BucketOwner"
)
get_logging = fixed("BucketLoggingStatus")
put_logging = accepts("BucketLoggingStatus", lambda root: root.get("LoggingEnabled") is None)
get_acceleration = fixed("AccelerateConfiguration")
put_acceleration = accepts(
    "AccelerateConfiguration", lambda root: root.value("Status") == "Suspended"
)


def none_of(root: str) -> Operation:
    """Return the operation that lists configurations of which there are none, or finds that there is none."""

    def get(call: Call) -> Reply:
        if call.param("id"):
            raise S3Error("NoSuchConfiguration", "The specified configuration does not exist.")
        return call.xml(document(root, [("IsTruncated", False)]))

    get.__doc__ = f"List no {root}."
    return get


def refuse(call: Call) -> Reply:
    """Refuse what S3 has and this cloud has not.

    Raises:
        S3Error: NotImplemented.
    """
    del call
    raise S3Error("NotImplemented")
