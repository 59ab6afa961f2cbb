"""The replicated driver on a cloud of one node, held against the suite of all drivers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.control.placement import NodeRow
from node.plugins import block
from node.plugins.block.drivers.driver import Driver
from node.plugins.block.drivers.replicated.driver import make
from node.state.txn import insert
from node.testing.cloud import Cloud
from node.testing.driver_suite import NODE, DriverSuite
from tests.block.conftest import running


class TestReplicatedDriver(DriverSuite):
    """Real processes, one replica."""

    @pytest.fixture
    def driver(self, place: Path) -> Iterator[Driver]:
        cloud = Cloud(place, [block], node_id=NODE)
        cloud.commit(insert(NodeRow(id=NODE, name=NODE)))
        made = make(cloud.control)
        yield made
        made.teardown()
        assert not running(place)
