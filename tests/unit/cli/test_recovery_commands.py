"""`hedgerow cluster`: what it does to a node that does not run, and what it refuses."""

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli import main
from node.clock import SystemClock
from node.cluster.authority import Authority
from node.cluster.consensus import Consensus
from node.cluster.settings import RaftSettings
from node.cluster.tables import CLUSTER, ClusterRow
from node.cluster.trust import Trust
from node.control.placement import NodeRow
from node.ids import RandomIds
from node.state.machine import Machine
from node.state.reader import Reader
from node.state.txn import AnyOp, Define, Txn, encode_txn, insert

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def asked(place: str, *argv: str, typed: str = "") -> tuple[int, str]:
        config = tmp_path / f"{place}.ini"
        config.write_text(f"[node]\nname = {place}\nstate_dir = {tmp_path / place}\n")
        done = CliRunner().invoke(
            main, ["cluster", *argv], input=typed, env={"HEDGEROW_CONFIG": str(config)}
        )
        return done.exit_code, done.output

    return asked


def commit(place: Path, node_id: str, *ops: AnyOp) -> None:
    """Run a node alone for a moment, and have it take some operations."""
    machine = Machine(place / "state.db")
    settings = RaftSettings(node_id=node_id, reserve_bytes=0, floor_bytes=0)
    consensus = Consensus(machine, place / "log", place / "s", settings)
    consensus.start()
    for op in ops:
        consensus.propose(encode_txn(Txn(request_id=RandomIds().uuid(), ops=(op,))), 20)
    consensus.stop()
    machine.close()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    place = tmp_path / "old"
    place.mkdir()
    authority = Authority.make("cluster-1", Trust(place / "tls", "n1", SystemClock())._now())
    commit(
        place,
        "n1",
        Define(NodeRow.__table__),
        Define(ClusterRow.__table__),
        insert(NodeRow(id="n1", name="old")),
        insert(NodeRow(id="n2", name="other")),
        insert(
            ClusterRow(
                id=CLUSTER,
                cluster_id="cluster-1",
                ca_certificate=authority.certificate_pem.decode(),
                ca_key=authority.key_pem.decode(),
            )
        ),
    )
    return place


def states(place: Path) -> dict[str, str]:
    reader = Reader(place / "state.db")
    found = {row.name: row.state for row in reader.rows(NodeRow)}
    reader.close()
    return found


def test_a_survivor_is_looked_at_and_recovered(old: Path, run: Run) -> None:
    code, said = run("old", "inspect")
    assert code == 0
    before = json.loads(said)
    assert before["voters"] == ["n1"]
    code, said = run("old", "recover", typed="y\n")
    assert code == 0, said
    assert f"entry {before['last_index']}" in said
    assert json.loads(run("old", "inspect")[1])["epoch"] > 0
    commit(old, "n1")
    assert states(old) == {"old": "up", "other": "down"}


def test_without_a_yes_nothing_is_changed(old: Path, run: Run) -> None:
    before = run("old", "inspect")
    assert run("old", "recover", typed="n\n")[0] == 1
    assert run("old", "inspect") == before


def test_a_running_node_is_left_alone(old: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rows"
    lock = os.open(old / "run.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        assert run("old", "export", str(file))[0] == 0
        for argv in (("inspect",), ("recover", "--yes"), ("restore", "--yes", str(file))):
            code, said = run("old", *argv)
            assert code == 1
            assert "stop it first" in said
    finally:
        os.close(lock)


def test_rows_move_to_another_machine(old: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rows"
    code, said = run("old", "export", str(file))
    assert code == 0, said
    assert "exists already" in run("old", "export", str(file))[1]
    code, said = run("new", "restore", "--yes", str(file))
    assert code == 0, said
    place = tmp_path / "new"
    node_id = json.loads((place / "identity.json").read_bytes())["node_id"]
    assert Trust(place / "tls", node_id, SystemClock()).is_member
    commit(place, node_id)
    assert states(place) == {"old": "down", "other": "down", "new": "up"}


def test_what_cannot_be_is_said(old: Path, run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"nothing")
    for argv, reason in (
        (("restore", "--yes", str(wrong)), "no exported state"),
        (("inspect",), "no log of a node"),
        (("recover", "--yes"), "no log of a node"),
        (("export", str(tmp_path / "rows")), "no state of a node"),
    ):
        code, said = run("empty", *argv)
        assert code == 1
        assert reason in said
    code, said = run("old", "export", str(tmp_path / "none" / "rows"))
    assert code == 1
    assert "Error" in said
