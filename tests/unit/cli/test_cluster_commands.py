"""`hedgerow token` and `hedgerow node`, from the command line to the rows."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli import main
from node.clock import SystemClock
from node.cluster.admin_commands import ClusterCommands
from node.cluster.tables import CLUSTER, ClusterRow, JoinRequest, JoinToken
from node.cluster.token import JOIN_ONLY, parse
from node.control.placement import NodeRow
from node.ids import RandomIds
from node.observe.admin import AdminServer
from node.state.txn import insert
from tests.unit.cluster.rows import Rows

IDS = RandomIds()
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    made = Rows(tmp_path / "state.db")
    made.commit(
        insert(ClusterRow(id=CLUSTER, cluster_id=IDS.uuid(), ca_key="CA-SECRET")),
        insert(NodeRow(id="id-1", name="edge1", fingerprint="ab" * 32, facts={"version": "1"})),
        insert(JoinRequest(id="cd" * 32, node_id="id-2", name="edge2", address="192.0.2.2")),
        insert(JoinRequest(id="ce" * 32, node_id="id-3", name="twin")),
        insert(JoinRequest(id="cf" * 32, node_id="id-4", name="twin")),
    )
    return made


@pytest.fixture
def run(tmp_path: Path, rows: Rows) -> Iterator[Run]:
    commands = ClusterCommands(
        db=lambda: rows.db, propose=rows.propose, clock=SystemClock(), ids=IDS
    )
    server = AdminServer(tmp_path, commands.commands())
    server.start()
    config = tmp_path / "hedgerow.ini"
    config.write_text(f"[node]\nstate_dir = {tmp_path}\n")

    def asked(*argv: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, argv, env={"HEDGEROW_CONFIG": str(config)})
        return done.exit_code, done.stdout, done.stderr

    yield asked
    server.stop()


def test_a_token_for_fresh_machines_needs_no_node() -> None:
    done = CliRunner().invoke(main, ["token", "new", "--founders", "5", "--valid-days", "2"])
    token = parse(done.stdout)
    assert token.founders == 5
    assert token.expires_at > SystemClock().now_us()
    assert CliRunner().invoke(main, ["token", "new", "--founders", "2"]).exit_code == 2


def test_tokens_of_a_cluster_are_shown_once(run: Run, rows: Rows) -> None:
    code, text, said = run("token", "create", "--note", "rack 4")
    assert code == 0
    token = parse(text)
    assert token.founders == JOIN_ONLY
    assert token.token_id in said
    stored = rows.db.get(JoinToken, token.token_id)
    assert stored is not None
    _, listed, _ = run("token", "list")
    _, as_json, _ = run("token", "list", "-f", "json")
    for shown in (listed, as_json):
        assert token.token_id in shown
        assert "rack 4" in shown
        assert stored.key not in shown
        assert text.strip() not in shown
    code, text, _ = run("token", "rotate", token.token_id[:9], "--grace-days", "0")
    assert code == 0
    assert parse(text).token_id != token.token_id
    states = {row["id"]: row["state"] for row in json.loads(run("token", "list", "-f", "json")[1])}
    assert states == {token.token_id: "revoked", parse(text).token_id: "valid"}
    assert "revoked" in run("token", "revoke", parse(text).token_id)[1]
    code, _, said = run("token", "revoke", "ffff")
    assert code == 1
    assert "There is no token ffff" in said


def test_nodes_are_listed_with_those_who_wait(run: Run) -> None:
    _, table, _ = run("node", "list")
    lines = table.splitlines()
    assert lines[0].split()[:3] == ["name", "standing", "state"]
    assert [line.split()[:2] for line in lines[1:3]] == [["edge1", "member"], ["edge2", "pending"]]
    listed = json.loads(run("node", "list", "-f", "json")[1])
    assert {row["fingerprint"] for row in listed} >= {"ab" * 32, "cd" * 32}
    assert "CA-SECRET" not in json.dumps(listed)
    shown = json.loads(run("node", "show", "edge1", "-f", "json")[1])
    assert (shown["id"], shown["standing"]) == ("id-1", "member")
    assert "pending" in run("node", "show", "cdcdcdcdcd")[1]


def test_a_node_is_approved_by_name_or_fingerprint(run: Run, rows: Rows) -> None:
    code, text, _ = run("node", "approve", "edge2")
    assert code == 0
    assert "cd" * 32 in text
    row = rows.db.get(JoinRequest, "cd" * 32)
    assert row is not None
    assert row.is_approved
    code, _, said = run("node", "approve", "twin")
    assert code == 1
    assert "give a fingerprint" in said
    assert run("node", "approve", "cececece")[0] == 0
    code, _, said = run("node", "approve", "cf")
    assert code == 1, "too short to name anyone"
    assert "No node cf waits" in said


def test_one_that_waits_is_sent_away(run: Run, rows: Rows) -> None:
    assert "refused" in run("node", "remove", "cfcfcfcf")[1]
    assert rows.db.get(JoinRequest, "cf" * 32) is None
