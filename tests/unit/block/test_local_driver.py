"""The driver `local` keeps every promise of the Protocol, with real processes; and some of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.plugins.block.drivers.driver import Driver, DriverError, QosLimits
from node.plugins.block.drivers.local import LocalDriver
from node.plugins.block.section import BlockSection
from node.sdk import hookimpl
from node.testing import Cloud
from node.testing.driver_suite import NODE, DriverSuite, guest_io, read, volume, write


class Sections:
    """The configuration that the driver reads."""

    @hookimpl
    def config_sections(self) -> dict[str, type]:
        return {"block": BlockSection}


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[LocalDriver]:
    made = LocalDriver(Cloud(tmp_path, [Sections()]).control)
    try:
        yield made
    finally:
        made.teardown()


class TestLocalDriver(DriverSuite):
    """The whole suite."""


def test_a_volume_is_reached_by_a_driver_that_was_started_anew(
    driver: LocalDriver, tmp_path: Path
) -> None:
    row = volume()
    driver.create(row)
    link = driver.connect(row, NODE, "rw")
    guest_io(link, "write -P 0x11 0 64k", "flush")
    again = LocalDriver(driver._control)
    assert again.connect(row, NODE, "rw") == link
    again.extend(row, 2)
    guest_io(link, "read -P 0x11 0 64k", "write -P 0x22 1500M 64k", "flush")
    again.disconnect(row, NODE)
    assert read(again, row, 1500 << 20, 4) == b"\x22" * 4
    again.delete(row)
    assert again.used_by() == []
    assert not [path for path in (tmp_path / "block").rglob("*") if path.is_file()]


def test_limits_hold_and_are_lifted(driver: LocalDriver) -> None:
    row = volume()
    driver.create(row)
    link = driver.connect(row, NODE, "rw")
    driver.qos(row, QosLimits(total_iops=100))
    running = driver._head(row.id).running()
    assert running is not None
    assert running.limits == {"iops-total": 100}
    guest_io(link, "write 0 4k")
    driver.qos(row, QosLimits())
    lifted = driver._head(row.id).running()
    assert lifted is not None
    assert lifted.limits == {}
    driver.disconnect(row, NODE)
    driver.delete(row)


def test_a_reader_cannot_write(driver: LocalDriver) -> None:
    row = volume()
    driver.create(row)
    write(driver, row, 0, b"kept")
    link = driver.connect(row, NODE, "ro")
    with pytest.raises(AssertionError):
        guest_io(link, "write -P 0x11 0 64k")
    driver.disconnect(row, NODE)
    assert read(driver, row, 0, 4) == b"kept"
    driver.delete(row)


def test_another_node_is_refused(driver: Driver) -> None:
    row = volume()
    driver.create(row)
    with pytest.raises(DriverError, match="another node"):
        driver.connect(row, "node-2", "rw")
    driver.delete(row)
