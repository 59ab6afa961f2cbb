"""What every way of writing an object has in common: conditions, quotas, and the answer."""

from collections.abc import Iterable, Mapping

import msgspec

from node.plugins.object import quota_rules
from node.plugins.object.store.contract import ANY, Condition, Entry, Facts
from node.plugins.object.swift import object_view, upload, version_rules
from node.plugins.object.swift.call import Call
from node.plugins.object.swift.faults import Refusal
from node.plugins.object.tables import Container
from node.sdk import OverQuota, Reply

HTML = "text/html; charset=UTF-8"


def condition_of(call: Call, container: Container) -> Condition:
    """Return what the headers say must hold, and refuse at once what cannot.

    Raises:
        Refusal: 400, a condition that PUT does not know; 412, it does not hold already.
    """
    header = call.headers.get("if-none-match", "").strip()
    if not header:
        return ANY
    if header != "*":
        raise Refusal(400, "If-None-Match only supports *", headers={"Content-Type": "text/plain"})
    if call.store.head(container.id, call.object_name) is not None:
        raise Refusal(412)
    return Condition(absent=True)


def hold_quota(call: Call, container: Container, size: int | None) -> int | None:
    """Refuse what a quota forbids; return how long a body of unknown length may be.

    Raises:
        Refusal: 413.
    """
    try:
        return quota_rules.hold(call.ctx, container, size)
    except OverQuota as error:
        raise Refusal(413, error.message, content_type=HTML) from None


def created(
    container: Container, entry: Entry, etag: str = "", more: Mapping[str, str] | None = None
) -> Reply:
    """Return the answer to a PUT that did it."""
    headers = {
        "ETag": etag or entry.etag,
        "Last-Modified": object_view.http_date(entry.modified_at),
        **(more or {}),
    }
    if version_rules.keeps_versions(container):
        headers["X-Object-Version-Id"] = object_view.version_id(entry)
    return Reply(status=201, body=b"", headers=headers, content_type=HTML)


def store(
    call: Call,
    container: Container,
    name: str,
    blocks: Iterable[bytes],
    facts: Facts,
    size: int | None = None,
) -> Entry:
    """Store blocks as an object: of an archive or a form. The ETag of `facts` is filled in.

    Raises:
        Refusal: 413, the quota or the largest size is passed.
    """
    left = hold_quota(call, container, size)
    with call.store.writer(container.id, name, policy=container.policy, size_bytes=size) as writer:
        received = upload.write_all(call, writer, blocks)
        if left is not None and received.size > left:
            raise Refusal(413, "Upload exceeds quota.", content_type=HTML)
        version_rules.archive(call, container, name)
        return writer.commit(
            msgspec.structs.replace(facts, etag=received.etag),
            version=version_rules.keeps_versions(container),
        )
