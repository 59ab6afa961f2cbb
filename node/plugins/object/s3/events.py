"""Writes down what is to be told of: an entry in the bucket's hidden container of events, for each target.

It is written after the object, before the answer: an event is told at least once, but for a node that dies between
the two. Buckets without notifications pay nothing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from node.plugins.object.hidden_containers import events_id
from node.plugins.object.s3 import notification_rules
from node.plugins.object.s3.faults import host_id
from node.plugins.object.s3.notification_rules import Target
from node.plugins.object.s3.xml_text import xml_time
from node.plugins.object.store.contract import Entry, Facts, Store
from node.plugins.object.tables import Container
from node.sdk import NodeSection

if TYPE_CHECKING:
    from node.plugins.object.s3.call import Call


def record(call: "Call", event: str, entry: Entry) -> None:
    """Write down that something happened to an object."""
    bucket = call.bucket
    text = bucket.sys.get("s3-notification", "")
    if not text:
        return
    plain = event.removeprefix("s3:")
    for target in notification_rules.wanted(text, plain, entry.name):
        body = notification_rules.record(plain, target, bucket, entry, _facts(call))
        keep(call.store, bucket, call.ctx.now(), call.ctx.ids.hex(), target.url, body)


def _facts(call: "Call") -> dict[str, str]:
    ctx = call.ctx
    token = ctx.token_or_none
    return {
        "region": ctx.config.section(NodeSection).region,
        "user": token.user_id if token is not None else "anonymous",
        "address": str(ctx.environ.get("REMOTE_ADDR", "")),
        "request": ctx.request_id,
        "node": host_id(ctx),
        "time": xml_time(ctx.now()),
    }


def record_test(call: "Call", targets: Sequence[Target]) -> None:
    """Write down a test for each target of a new configuration."""
    ctx = call.ctx
    body = notification_rules.test_record(call.bucket, ctx.now(), ctx.request_id, host_id(ctx))
    for url in dict.fromkeys(target.url for target in targets):
        keep(call.store, call.bucket, ctx.now(), ctx.ids.hex(), url, body)


def keep(store: Store, bucket: Container, now_us: int, unique: str, url: str, body: Any) -> None:
    """Keep an event until it is delivered."""
    name = f"{now_us:020d}-{unique}"
    with store.writer(events_id(bucket.id), name, policy=bucket.policy) as writer:
        writer.write(msgspec.json.encode(body))
        writer.commit(Facts(etag="", content_type="application/json", sys={"url": url}))
