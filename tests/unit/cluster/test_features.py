"""When new features are used: not before all members have them."""

from pathlib import Path

import pytest

from node.cluster.features import (
    FEATURE_LEVEL,
    WITNESSES,
    check_level,
    held_up,
    level_of,
    raise_ops,
)
from node.cluster.tables import CLUSTER, ClusterRow
from node.control.placement import NodeRow
from node.errors import Incompatible
from node.state.txn import Refused, insert, patch
from tests.unit.cluster.rows import Rows


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    made = Rows(tmp_path / "state.db")
    made.commit(
        insert(ClusterRow(id=CLUSTER, feature_level=1)),
        insert(NodeRow(id="a", name="a", feature_level=3)),
        insert(NodeRow(id="b", name="b", feature_level=2, state="down")),
    )
    return made


def raised(rows: Rows) -> int:
    ops = raise_ops(rows.db.get(ClusterRow, CLUSTER), rows.db.rows(NodeRow), 1)
    if ops:
        rows.commit(*ops)
    return level_of(rows.db)


def test_the_level_is_the_least_of_all_members_and_never_falls(rows: Rows) -> None:
    assert raised(rows) == 2
    assert "b (away)" in held_up(rows.db.get(ClusterRow, CLUSTER), rows.db.rows(NodeRow))
    rows.commit(patch(NodeRow, "b", feature_level=1))
    assert raised(rows) == 2
    rows.commit(patch(NodeRow, "b", feature_level=3))
    assert raised(rows) == 3
    assert held_up(rows.db.get(ClusterRow, CLUSTER), rows.db.rows(NodeRow)) == ""


def test_a_node_that_says_otherwise_meanwhile_stops_the_rise(rows: Rows) -> None:
    ops = raise_ops(rows.db.get(ClusterRow, CLUSTER), rows.db.rows(NodeRow), 1)
    rows.commit(patch(NodeRow, "b", feature_level=1))
    assert isinstance(rows.propose(*ops), Refused)
    assert level_of(rows.db) == 1


def test_code_that_is_too_old_does_not_take_part(rows: Rows) -> None:
    check_level(rows.db)
    rows.commit(patch(ClusterRow, CLUSTER, feature_level=FEATURE_LEVEL + 1))
    with pytest.raises(Incompatible, match="newer version"):
        check_level(rows.db)


def test_levels_are_those_that_exist() -> None:
    assert WITNESSES <= FEATURE_LEVEL
