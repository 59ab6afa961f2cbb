from collections.abc import Iterator
from pathlib import Path

import pytest

from node.testing import Cloud
from tests.unit.api import gadget


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path, [gadget])
    yield made
    made.machine.close()
