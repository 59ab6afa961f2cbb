"""What nodes ask each other's disks, as msgpack over the data port."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from node.plugins.object.store.contract import Listing, Query, Usage
from node.plugins.object.store.index_ops import Result
from node.plugins.object.store.record import Record
from node.sdk import Frozen

PATH = "/object-peers"


class RecordsQuestion(Frozen, tag="records"):
    """All that an index has of a name; only the newest version with `latest`."""

    disk_id: str
    container_id: str
    name: str
    latest: bool = False


class ListQuestion(Frozen, tag="list"):
    """A page."""

    disk_id: str
    container_id: str
    query: Query


class UsageQuestion(Frozen, tag="usage"):
    """How much is in containers."""

    disk_id: str
    container_ids: Sequence[str]


Question = RecordsQuestion | ListQuestion | UsageQuestion


class Answers(Frozen):
    """The answer to any of them."""

    records: Sequence[Record] = ()
    listing: Listing | None = None
    usage: Sequence[tuple[Usage, int]] = ()
    results: Mapping[str, Sequence[Result]] = {}
    answer: Any = None


questions: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)


answers = msgspec.msgpack.Decoder(Answers)
