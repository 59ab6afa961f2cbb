"""Notifications: which events go where, and how they look.

A target is a web address, given in the place of a topic's, queue's or function's name, plain or as
`arn:aws:sns:::https://…`: events are posted to it as JSON.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus, urlsplit

from node.plugins.object.s3.faults import S3Error
from node.plugins.object.s3.xml_input import Element, parse
from node.plugins.object.s3.xml_text import xml_time
from node.plugins.object.store.contract import Entry
from node.plugins.object.tables import Container
from node.sdk import Frozen

_KINDS = {
    "TopicConfiguration": "Topic",
    "QueueConfiguration": "Queue",
    "CloudFunctionConfiguration": "CloudFunction",
}
_EVENTS = frozenset((
    "ObjectCreated:*", "ObjectCreated:Put", "ObjectCreated:Post", "ObjectCreated:Copy",
    "ObjectCreated:CompleteMultipartUpload", "ObjectRemoved:*", "ObjectRemoved:Delete",
    "ObjectRemoved:DeleteMarkerCreated", "ObjectTagging:*", "ObjectTagging:Put",
    "ObjectTagging:Delete", "ObjectAcl:Put", "LifecycleExpiration:*", "LifecycleExpiration:Delete",
    "LifecycleExpiration:DeleteMarkerCreated",
))  # fmt: skip


class Target(Frozen):
    """Where some events go."""

    id: str
    url: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""

    def wants(self, event: str, key: str) -> bool:
        """Return whether an event about a key goes there."""
        if not key.startswith(self.prefix) or not key.endswith(self.suffix):
            return False
        return any(
            e == event or (e.endswith(":*") and event.startswith(e[:-1])) for e in self.events
        )


def read(root: Element) -> tuple[Target, ...]:
    """Return the targets of a NotificationConfiguration.

    Raises:
        S3Error: MalformedXML, InvalidArgument.
    """
    found = []
    for number, element in enumerate(root):
        kind = _KINDS.get(element.name)
        if kind is None:
            if element.name == "EventBridgeConfiguration":
                raise S3Error("NotImplemented")
            raise S3Error("MalformedXML")
        found.append(_target(element, kind, number))
    if len(found) > 100:
        raise S3Error("MalformedXML")
    return tuple(found)


def _target(element: Element, kind: str, number: int) -> Target:
    address = element.value(kind).strip()
    url = address[address.find("http") :] if address.startswith("arn:") else address
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits or len(url) > 2048 or any(c <= " " or c >= "\x7f" for c in url):
        raise S3Error(
            "InvalidArgument",
            "Unable to validate the following destination configurations: a target is an http or https URL",
            ArgumentName=address[:200],
        )
    events = tuple(e.text.strip().removeprefix("s3:") for e in element.all("Event"))
    if not events or not set(events) <= _EVENTS:
        raise S3Error("InvalidArgument", "The event is not supported for notifications")
    affixes = {"prefix": "", "suffix": ""}
    outer = element.get("Filter")
    inner = outer.get("S3Key") if outer is not None else None
    for rule in inner.all("FilterRule") if inner is not None else ():
        name = rule.value("Name").strip().lower()
        if name not in affixes or affixes[name]:
            raise S3Error("InvalidArgument", "filter rule name must be either prefix or suffix")
        affixes[name] = rule.value("Value")
    return Target(
        id=element.value("Id") or f"target-{number + 1}", url=url, events=events, **affixes
    )


def with_ids(root: Element) -> list[tuple[str, Any]]:
    """Return a configuration as a tree in which each target has an id."""
    tree = []
    for number, (name, inner) in enumerate(root.tree()):
        has_id = any(field == "Id" and value for field, value in inner)
        rest = inner if has_id else [("Id", f"target-{number + 1}"), *inner]
        tree.append((name, rest))
    return tree


@lru_cache(maxsize=256)
def loaded(text: str) -> tuple[Target, ...]:
    """Return the targets of a configuration that was accepted."""
    return read(parse(text)) if text else ()


def record(
    event: str, target: Target, bucket: Container, entry: Entry, facts: Mapping[str, str]
) -> dict[str, Any]:
    """Return an event's body. `facts`: region, user, address, request, node and the time."""
    thing: dict[str, Any] = {
        "key": quote_plus(entry.name, safe="/"),
        "sequencer": f"{entry.stamp:016X}",
    }
    if not event.startswith("ObjectRemoved"):
        thing |= {"size": entry.size_bytes, "eTag": entry.etag}
    if bucket.versioning:
        thing["versionId"] = entry.version_id
    one = {
        "eventVersion": "2.3",
        "eventSource": "aws:s3",
        "awsRegion": facts["region"],
        "eventTime": facts["time"],
        "eventName": event,
        "userIdentity": {"principalId": facts["user"]},
        "requestParameters": {"sourceIPAddress": facts["address"]},
        "responseElements": {"x-amz-request-id": facts["request"], "x-amz-id-2": facts["node"]},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": target.id,
            "bucket": {
                "name": bucket.name,
                "ownerIdentity": {"principalId": bucket.account},
                "arn": f"arn:aws:s3:::{bucket.name}",
            },
            "object": thing,
        },
    }
    return {"Records": [one]}


def test_record(bucket: Container, now_us: int, request_id: str, node_id: str) -> dict[str, Any]:
    """Return the event that a target gets when it is set."""
    return {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": xml_time(now_us),
        "Bucket": bucket.name,
        "RequestId": request_id,
        "HostId": node_id,
    }


def wanted(text: str, event: str, key: str) -> Sequence[Target]:
    """Return the targets of an event about a key."""
    return [target for target in loaded(text) if target.wants(event, key)]
