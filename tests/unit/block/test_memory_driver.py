"""The driver of tests keeps every promise of the Protocol."""

import pytest

from node.plugins.block.drivers.driver import Driver
from node.plugins.block.drivers.memory import MemoryDriver
from node.testing.driver_suite import DriverSuite


class TestMemoryDriver(DriverSuite):
    """The whole suite."""

    serves_nbd = False

    @pytest.fixture
    def driver(self) -> Driver:
        return MemoryDriver()
