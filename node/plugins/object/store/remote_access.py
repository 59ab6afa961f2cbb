"""Another node's disks, over its data port."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from node.plugins.object.store.contract import Listing, Query, Usage
from node.plugins.object.store.index_ops import IndexOp, Result
from node.plugins.object.store.peer_wire import (
    PATH,
    Answers,
    ListQuestion,
    Question,
    RecordsQuestion,
    UsageQuestion,
    answers,
)
from node.plugins.object.store.record import Record, pack
from node.plugins.object.store.wire import AskRequest, WriteRequest
from node.sdk import DataPort, DataUpload, NotFound, Unavailable


class RemoteSource:
    """A fragment of another node. Whether it is there shows with the first read."""

    def __init__(self, port: DataPort, node_id: str, path: str) -> None:
        self._port = port
        self._node_id = node_id
        self._path = path

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes that were checked over there."""
        path = f"{self._path}?offset={offset}&length={length}"
        return self._port.send(self._node_id, "GET", path)

    def close(self) -> None:
        """Do nothing: connections are shared."""


class RemoteSink:
    """A fragment on its way to another node."""

    def __init__(self, upload: DataUpload) -> None:
        self._upload = upload

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes."""
        self._upload.write(data)

    def commit(self) -> None:
        """Have it made durable over there."""
        self._upload.finish()

    def abort(self) -> None:
        """Tear the body off: what came of it is forgotten over there."""
        self._upload.close()


class RemoteAccess:
    """A `NodeAccess` of another node."""

    def __init__(self, port: DataPort, node_id: str) -> None:
        self._port = port
        self._node_id = node_id

    def _send(self, what: str, value: Any) -> Answers:
        raw = self._port.send(self._node_id, "POST", f"{PATH}/v1/{what}", pack(value))
        try:
            return answers.decode(raw)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"Node {self._node_id} answers in a way nobody knows") from error

    def _ask(self, question: Question) -> Answers:
        try:
            return self._send("question", question)
        except NotFound as error:
            raise Unavailable(error.message) from error

    def write(
        self, disk_ids: Sequence[str], ops: Sequence[IndexOp], layout: int
    ) -> Mapping[str, Sequence[Result]]:
        """Write indexes."""
        request = WriteRequest(disk_ids=disk_ids, ops=ops, layout=layout)
        return self._send("write", request).results

    def start_write(
        self, disk_ids: Sequence[str], ops: Sequence[IndexOp], layout: int
    ) -> Callable[[], Mapping[str, Sequence[Result]]]:
        """Write indexes; the outcome is there at once."""
        found = self.write(disk_ids, ops, layout)
        return lambda: found

    def records(self, disk_id: str, container_id: str, name: str) -> Sequence[Record]:
        """Return all that an index has of a name."""
        asked = RecordsQuestion(disk_id=disk_id, container_id=container_id, name=name)
        return self._ask(asked).records

    def latest(self, disk_id: str, container_id: str, name: str) -> Record | None:
        """Return the newest version as one index has it."""
        asked = RecordsQuestion(disk_id=disk_id, container_id=container_id, name=name, latest=True)
        found = self._ask(asked).records
        return found[0] if found else None

    def list(self, disk_id: str, container_id: str, query: Query) -> Listing:
        """Return a page."""
        asked = ListQuestion(disk_id=disk_id, container_id=container_id, query=query)
        found = self._ask(asked).listing
        if found is None:
            raise Unavailable(f"Node {self._node_id} gives no page")
        return found

    def usage(self, disk_id: str, container_ids: Sequence[str]) -> Sequence[tuple[Usage, int]]:
        """Return how much is in containers."""
        return self._ask(UsageQuestion(disk_id=disk_id, container_ids=container_ids)).usage

    def blob(self, disk_id: str, id: str) -> bytes | None:
        """Return inline bytes."""
        try:
            return self._port.send(
                self._node_id, "GET", f"{PATH}/v1/blobs/{quote(disk_id)}/{quote(id)}"
            )
        except NotFound:
            return None

    def _fragment(self, disk_id: str, name: str) -> str:
        return f"{PATH}/v1/fragments/{quote(disk_id)}/{quote(name)}"

    def open_fragment(self, disk_id: str, name: str) -> RemoteSource:
        """Open a fragment."""
        return RemoteSource(self._port, self._node_id, self._fragment(disk_id, name))

    def create_fragment(self, disk_id: str, name: str) -> RemoteSink:
        """Begin a fragment."""
        upload = self._port.upload(self._node_id, "PUT", self._fragment(disk_id, name))
        return RemoteSink(upload)

    def ask(self, disk_id: str, question: str, argument: Any) -> Any:
        """Ask what healing needs."""
        asked = AskRequest(disk_id=disk_id, question=question, argument=argument)
        return self._send("ask", asked).answer
