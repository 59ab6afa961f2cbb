"""What can be said of an object after it was written: tags, retention, legal hold.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html
"""

from node.plugins.object.s3 import events, lock_rules, tag_rules
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.object_read_api import find
from node.plugins.object.s3.object_write_api import may_bypass, sys_with
from node.plugins.object.s3.xml_input import parse
from node.plugins.object.s3.xml_text import document, xml_time
from node.plugins.object.store.contract import Entry
from node.sdk import NotFound, Reply


def _version_header(call: Call, entry: Entry) -> dict[str, str]:
    return {"x-amz-version-id": entry.version_id} if call.bucket.versioning else {}


def _update(call: Call, entry: Entry, **changes: str | None) -> Entry:
    """Change entries of an object's `sys`; underscores in names are dashes."""
    sys = sys_with(entry, {name.replace("_", "-"): value for name, value in changes.items()})
    try:
        return call.store.update(entry, sys=sys, touch=False)
    except NotFound as error:
        raise S3Error("NoSuchKey", Key=call.key) from error


def get_tags(call: Call) -> Reply:
    """Show an object's tags."""
    entry = find(call, "s3:GetObjectTagging", "s3:GetObjectVersionTagging")
    return call.xml(tag_rules.to_xml(tag_rules.read(entry.sys)), _version_header(call, entry))


def put_tags(call: Call) -> Reply:
    """Replace an object's tags."""
    entry = find(call, "s3:PutObjectTagging", "s3:PutObjectVersionTagging")
    tags = tag_rules.of_xml(parse(call.read_document(), "Tagging"), tag_rules.MAX_OBJECT_TAGS)
    changed = _update(call, entry, s3_tags=tag_rules.kept(tags).get("s3-tags"))
    events.record(call, "s3:ObjectTagging:Put", changed)
    return Reply(headers=_version_header(call, entry))


def delete_tags(call: Call) -> Reply:
    """Take all tags off an object."""
    entry = find(call, "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging")
    changed = _update(call, entry, s3_tags=None)
    events.record(call, "s3:ObjectTagging:Delete", changed)
    return Reply(status=204, headers=_version_header(call, entry))


def _need_lock(call: Call) -> None:
    if not lock_rules.has_lock(call.bucket):
        raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")


def get_retention(call: Call) -> Reply:
    """Show until when an object is locked."""
    entry = find(call, "s3:GetObjectRetention")
    _need_lock(call)
    if "s3-lock-mode" not in entry.sys:
        raise S3Error("NoSuchObjectLockConfiguration")
    tree = [("Mode", entry.sys["s3-lock-mode"]), ("RetainUntilDate", entry.sys["s3-lock-until"])]
    return call.xml(document("Retention", tree))


def put_retention(call: Call) -> Reply:
    """Lock an object until a date, or change until when it is."""
    entry = find(call, "s3:PutObjectRetention")
    _need_lock(call)
    root = parse(call.read_document(), "Retention")
    mode, until = root.value("Mode"), root.value("RetainUntilDate")
    now = call.ctx.now()
    if (mode, until) != ("", "") and (mode not in lock_rules.MODES or not until):
        raise S3Error("MalformedXML")
    ends = lock_rules.until_us(until, now) if until else 0
    lock_rules.check_change(entry.sys, mode, ends, now, bypass=may_bypass(call, call.key))
    _update(call, entry, s3_lock_mode=mode or None, s3_lock_until=xml_time(ends) if ends else None)
    return Reply()


def get_hold(call: Call) -> Reply:
    """Show whether an object is held."""
    entry = find(call, "s3:GetObjectLegalHold")
    _need_lock(call)
    if "s3-hold" not in entry.sys:
        raise S3Error("NoSuchObjectLockConfiguration")
    return call.xml(document("LegalHold", [("Status", entry.sys["s3-hold"])]))


def put_hold(call: Call) -> Reply:
    """Hold an object, or let it go."""
    entry = find(call, "s3:PutObjectLegalHold")
    _need_lock(call)
    status = parse(call.read_document(), "LegalHold").value("Status")
    if status not in ("ON", "OFF"):
        raise S3Error("MalformedXML")
    _update(call, entry, s3_hold=status)
    return Reply()


def refuse(call: Call) -> Reply:
    """Refuse what S3 has and this cloud has not: restore, select, torrent.

    Raises:
        S3Error: NotImplemented.
    """
    find(call, "s3:GetObject")
    raise S3Error("NotImplemented")
