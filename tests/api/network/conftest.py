"""A cloud with the network service alone, and short ways to ask it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.control.placement import NodeRow
from node.plugins import network
from node.state.txn import insert
from node.testing.cloud import Answer, Cloud

BASE = "/network/v2.0"


class Caller:
    """Somebody with a token."""

    def __init__(self, cloud: Cloud, token: str) -> None:
        self.cloud = cloud
        self.token = token

    def get(self, path: str) -> Any:
        """Return the body of a GET that succeeds."""
        answer = self.cloud.get(f"{BASE}{path}", token=self.token)
        assert answer.status == 200, answer.body
        return answer.json

    def make(self, path: str, name: str, /, **attributes: Any) -> dict[str, Any]:
        """Create something and return it."""
        answer = self.post(path, {name: attributes})
        assert answer.status == 201, answer.body
        made: dict[str, Any] = answer.json[name]
        return made

    def post(self, path: str, body: Any) -> Answer:
        """POST."""
        return self.cloud.post(f"{BASE}{path}", json=body, token=self.token)

    def put(self, path: str, body: Any) -> Answer:
        """PUT."""
        return self.cloud.put(f"{BASE}{path}", json=body, token=self.token)

    def delete(self, path: str) -> Answer:
        """DELETE."""
        return self.cloud.delete(f"{BASE}{path}", token=self.token)

    def ask(self, path: str) -> Answer:
        """GET, whatever the status."""
        return self.cloud.get(f"{BASE}{path}", token=self.token)

    def net(self, cidr: str = "10.0.0.0/24", **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Create a network with one IPv4 subnet."""
        made = self.make("/networks", "network", name="net", **more)
        subnet = self.make("/subnets", "subnet", network_id=made["id"], cidr=cidr, ip_version=4)
        return made, subnet


def refused(answer: Answer, status: int, kind: str) -> str:
    """Check a refusal's status and type and return its message."""
    assert answer.status == status, answer.body
    error = answer.json["NeutronError"]
    assert error["type"] == kind, error
    assert set(error) == {"type", "message", "detail"}
    message: str = error["message"]
    return message


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """Return a cloud with one node."""
    made = Cloud(tmp_path, [network])
    made.commit(insert(NodeRow(id="node-1", name="alpha", created_at=1, updated_at=1)))
    yield made
    made.db.close()


@pytest.fixture
def member(cloud: Cloud) -> Caller:
    """Return a member of project-1."""
    return Caller(cloud, cloud.token())


@pytest.fixture
def other(cloud: Cloud) -> Caller:
    """Return a member of project-2."""
    return Caller(cloud, cloud.token(project_id="project-2", user_id="user-2"))


@pytest.fixture
def reader(cloud: Cloud) -> Caller:
    """Return a reader of project-1."""
    return Caller(cloud, cloud.token(roles=("reader",), user_id="user-3"))


@pytest.fixture
def admin(cloud: Cloud) -> Caller:
    """Return an admin."""
    return Caller(cloud, cloud.token(roles=("admin",), project_id="admin-project", user_id="admin"))


@pytest.fixture
def public(admin: Caller) -> dict[str, Any]:
    """Return an external network with 198.51.100.0/24."""
    made = admin.make("/networks", "network", name="public", **{"router:external": True})
    admin.make(
        "/subnets",
        "subnet",
        network_id=made["id"],
        cidr="198.51.100.0/24",
        ip_version=4,
        enable_dhcp=False,
    )
    return made
