"""Fresh reads: asked for among others only."""

from pathlib import Path

import pytest

from node.control.freshness import Freshness
from node.control.placement import NodeRow
from node.sdk import delete, insert
from node.testing import Cloud


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path, plugins=[])


def node(cloud: Cloud, name: str) -> NodeRow:
    now = cloud.clock.now_us()
    return NodeRow(id=name, name=name, created_at=now, updated_at=now)


def test_a_node_alone_asks_nothing_and_one_among_others_each_time(cloud: Cloud) -> None:
    asked: list[float] = []
    answers = [True, False]

    def read_index(timeout_s: float) -> bool:
        asked.append(timeout_s)
        return answers[len(asked) - 1]

    fresh = Freshness(read_index)
    for row in cloud.db.rows(NodeRow):
        cloud.commit(delete(NodeRow, row.id))
    assert fresh.ensure(cloud.db)
    cloud.commit(insert(node(cloud, "n1")))
    assert fresh.ensure(cloud.db)
    assert asked == []
    cloud.commit(insert(node(cloud, "n2")))
    assert fresh.ensure(cloud.db)
    assert not fresh.ensure(cloud.db)
    assert len(asked) == 2
    cloud.commit(delete(NodeRow, "n2"))
    assert fresh.ensure(cloud.db)
    assert len(asked) == 2
