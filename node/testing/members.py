"""More nodes of a test cloud: each has a directory, an API and a control of its own, all have the same rows."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from node.api.app import build_both
from node.api.context import Kept
from node.config import Config, NodeSection
from node.control.placement import NodeRow
from node.control.reconciler import Reconciler
from node.data_port import DataAnswer
from node.errors import DiskFull, NotFound, Unavailable
from node.state.txn import insert
from node.testing.asker import Answer, Asker
from node.testing.cloud import Cloud, TestControl


class Member(Asker):
    """One node: ask its API, run reconcilers with its control."""

    def __init__(self, cloud: Cloud, node_id: str, network: "MemberNetwork") -> None:
        self.id = node_id
        directory = cloud.directory / node_id
        directory.mkdir(exist_ok=True)
        section = msgspec.structs.replace(
            cloud.config.section(NodeSection), name=node_id, state_dir=str(directory)
        )
        config = Config(dict(cloud.config.items()) | {"node": section})
        data_port = MemberDataPort(network, node_id)
        backend = msgspec.structs.replace(
            cloud.backend,
            config=config,
            node_id=node_id,
            data_port=data_port,
            tell=self._tell,
            kept=Kept(),
            is_member=lambda other: cloud.db.get(NodeRow, other) is not None,
        )
        self.reconcilers: dict[str, Reconciler] = {}
        """Those that handlers may ask, by name."""
        super().__init__(build_both(backend, cloud.services))
        self.control = TestControl(cloud, node_id, config)
        self.control.data_port = data_port

    def _tell(self, name: str, key: str) -> Mapping[str, Any]:
        if name not in self.reconcilers:
            raise Unavailable(f"The reconciler {name} does not run on {self.id}")
        return self.reconcilers[name].tell(key)


class MemberNetwork:
    """The nodes of a test, and what is wrong between them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.members: dict[str, Member] = {}
        self.dead: set[str] = set()
        """Nodes that nobody reaches. Their rows are the test's to change."""
        self.cut_after: dict[str, int] = {}
        """Nodes that go away once, after so many bytes of an answer."""
        self.asked: list[tuple[str, str]] = []
        """(node, path) of every request between nodes."""

    def add(self, node_id: str, **fields: object) -> Member:
        """Make a node; one that has no row gets one with these fields."""
        if self._cloud.db.get(NodeRow, node_id) is None:
            resources = {"vcpus": 4, "memory_mib": 4096, "disk_gib": 100, **fields}
            row = NodeRow(id=node_id, name=node_id, created_at=1, **resources)  # type: ignore[arg-type]
            self._cloud.commit(insert(row))
        self.members[node_id] = Member(self._cloud, node_id, self)
        return self.members[node_id]


class MemberDataPort:
    """A DataPort that leads into the applications of other members."""

    def __init__(self, network: MemberNetwork, own: str) -> None:
        self._network = network
        self._own = own

    @contextlib.contextmanager
    def get(
        self, node_id: str, path: str, *, offset: int = 0, last: int | None = None
    ) -> Iterator[DataAnswer]:
        """Open what a member serves."""
        if node_id in self._network.dead or node_id not in self._network.members:
            raise Unavailable(f"Node {node_id} cannot be reached")
        self._network.asked.append((node_id, path))
        partly = offset or last is not None
        headers = {"Range": f"bytes={offset}-{'' if last is None else last}"} if partly else {}
        answer = self._network.members[node_id].get(path, headers=headers, peer=self._own)
        if answer.status == 404:
            raise NotFound(f"Node {node_id} does not have {path}")
        if answer.status != (206 if partly else 200):
            raise Unavailable(f"Node {node_id} refuses {path} ({answer.status}): {answer.body!r}")
        yield _Held(answer, self._network.cut_after.pop(node_id, None))

    def send(self, node_id: str, method: str, path: str, body: bytes = b"") -> bytes:
        """Send a request to a member."""
        if node_id in self._network.dead or node_id not in self._network.members:
            raise Unavailable(f"Node {node_id} cannot be reached")
        self._network.asked.append((node_id, path))
        member = self._network.members[node_id]
        answer = member.request(method, path, body=body, peer=self._own)
        if answer.status == 404:
            raise NotFound(f"Node {node_id} does not have {path}")
        if answer.status == 507:
            raise DiskFull(f"Node {node_id} has no room")
        if answer.status >= 300:
            raise Unavailable(f"Node {node_id} refuses {path} ({answer.status}): {answer.body!r}")
        return answer.body

    def upload(self, node_id: str, method: str, path: str) -> "MemberUpload":
        """Begin a request to a member."""
        return MemberUpload(self, node_id, method, path)


class MemberUpload:
    """A body that is sent when it is whole."""

    def __init__(self, port: MemberDataPort, node_id: str, method: str, path: str) -> None:
        self._port = port
        self._request = node_id, method, path
        self._body = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes."""
        self._body += data

    def finish(self) -> bytes:
        """Send the request."""
        return self._port.send(*self._request, bytes(self._body))

    def close(self) -> None:
        """Forget it."""
        self._body.clear()


class _Held:
    """An answer that is here already, and perhaps ends early."""

    def __init__(self, answer: Answer, cut_after: int | None) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self._body = io.BytesIO(answer.body if cut_after is None else answer.body[:cut_after])
        self._cut = cut_after is not None

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        data = self._body.read(size)
        if self._cut and not data:
            raise Unavailable("The node went away")
        return data
