"""Real `hedgerow run` processes: killed at random, started twice, stopped, and given plugins of strangers."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cluster.client import ProposalClient
from node.errors import NodeError
from node.state.txn import Applied, Insert, Txn, decode_outcome, encode_txn
from tests.probe.daemon import ROOT, Daemon, is_gone

pytestmark = [pytest.mark.probe, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    made.start()
    try:
        yield made
    finally:
        made.stop()


class Writers:
    """Threads that sign the book, and remember what was acknowledged."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.acknowledged: set[str] = set()
        self.refused: list[tuple[int, object]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(3)]
        for thread in self._threads:
            thread.start()

    def _work(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            name = f"{number}-{turn}"
            status, body = self.daemon.ask("POST", name)
            if status == 201:
                self.acknowledged.add(name)
            elif status not in (0, 503):
                self.refused.append((status, body))
            self._stop.wait(0.01)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_parts_that_are_killed_come_back_and_nothing_is_lost(daemon: Daemon) -> None:
    writers = Writers(daemon)
    parts = ["core", "worker", "arbiter", "core", "worker", "supervisor", "arbiter"]
    random.shuffle(parts)
    try:
        for part in parts:
            before = len(writers.acknowledged)
            daemon.until(
                lambda n=before: len(writers.acknowledged) > n + 5, "no write goes through"
            )  # type: ignore[misc]
            time.sleep(random.random() / 2)
            daemon.kill(part)
            if part == "supervisor":
                daemon.start()
        before = len(writers.acknowledged)
        daemon.until(lambda: len(writers.acknowledged) > before + 5, "no write goes through")
    finally:
        writers.stop()
    assert writers.refused == []
    listed = [entry["name"] for entry in daemon.ask("GET")[1]["entries"]]
    assert writers.acknowledged <= set(listed)
    assert len(listed) == len(set(listed))
    daemon.until(
        lambda: all(entry["have"] == "signed" for entry in daemon.ask("GET")[1]["entries"]),
        "the reconciler did not catch up",
    )


def test_a_repeated_request_id_gets_its_first_answer_over_a_kill(daemon: Daemon) -> None:
    txn = encode_txn(
        Txn(request_id="once", ops=(Insert("entries", "e", '{"id":"e","name":"once"}'),))
    )
    client = ProposalClient(daemon.state / "core.sock")
    first = decode_outcome(client.propose(txn, 10.0))
    assert isinstance(first, Applied)
    client.close()
    daemon.kill("core")
    daemon.until(daemon.is_up, "the core did not come back")

    def again() -> bool:
        client = ProposalClient(daemon.state / "core.sock")
        try:
            return decode_outcome(client.propose(txn, 10.0)) == first
        except NodeError:
            return False
        finally:
            client.close()

    daemon.until(again, "the answer is another one")


def test_a_second_daemon_on_the_directory_is_refused(daemon: Daemon) -> None:
    before = daemon.pids()
    second = subprocess.run(
        [sys.executable, "-m", "node.cli", "run", "--config", str(daemon.config)],
        capture_output=True, text=True, timeout=30, check=False, cwd=daemon.directory,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert second.returncode == 1
    assert f"Another hedgerow runs on {daemon.state}" in second.stderr
    assert daemon.ask("POST", "still here")[0] == 201
    assert daemon.pids() == before


def test_it_stops_in_seconds_and_leaves_no_process(daemon: Daemon) -> None:
    pids = daemon.everybody()
    assert len(pids) == 5
    writers = Writers(daemon)
    daemon.until(lambda: len(writers.acknowledged) > 5, "no write goes through")
    begin = time.monotonic()
    code = daemon.stop()
    took_s = time.monotonic() - begin
    writers.stop()
    assert code == 0
    assert took_s < 20
    daemon.until(lambda: all(map(is_gone, pids)), "a process is left", 5)
    assert not (daemon.state / "admin.sock").exists()
    daemon.start()
    listed = {entry["name"] for entry in daemon.ask("GET")[1]["entries"]}
    assert writers.acknowledged <= listed


def test_children_of_a_killed_supervisor_end_too(daemon: Daemon) -> None:
    pids = daemon.everybody()
    daemon.kill("supervisor")
    daemon.until(lambda: all(map(is_gone, pids)), "a process is left", 30)
    daemon.start()
    assert daemon.ask("POST", "after")[0] == 201


BROKEN = {
    "no_import": "import nowhere_to_be_found",
    "no_syntax": "def (",
    "exits": "import sys; sys.exit(3)",
    "no_hook": "from node.sdk import *\n@hookimpl\ndef brew_tea(): pass",
    "bad_seed": "from node.sdk import *\n@hookimpl\ndef seed_rows(db): raise RuntimeError('no seeds')",
    "bad_health": "from node.sdk import *\n@hookimpl\ndef health(control): raise RuntimeError('sick')",
    "bad_facts": "from node.sdk import *\n@hookimpl\ndef node_facts(control): return None",
    "bad_rows": "from node.sdk import *\n@hookimpl\ndef row_types(): return [str]",
    "bad_table": """
from node.sdk import *
class Odd(Row):
    __table__ = Table(name="sqlite_odd")
class Stolen(Row):
    __table__ = Table(name="nodes", indexes=(("name",),))
@hookimpl
def row_types(): return [Odd, Stolen]
""",
    "bad_section": "from node.sdk import *\n@hookimpl\ndef config_sections(): return {'node': Frozen}",
    "bad_token": "from node.sdk import *\n@hookimpl\ndef token_verify(token): raise RuntimeError('who')",
    "bad_service": """
from node.sdk import *
def fault(ctx, error): return Reply(status=error.status, body={})
@hookimpl
def services():
    return [Service(name="b", type="b", path="/book", endpoint="/b", fault=fault, routes=())]
""",
    "bad_policy": """
from node.sdk import *
def fault(ctx, error): return Reply(status=error.status, body={})
@hookimpl
def services():
    return [Service(name="p", type="p", path="/p", endpoint="/p", fault=fault, policies={"x": "((role"}, routes=())]
""",
    "bad_handler": """
from node.sdk import *
def fault(ctx, error): return Reply(status=error.status, body={"error": error.message})
def crash(ctx): raise RuntimeError("inside")
@hookimpl
def services():
    return [Service(name="h", type="h", path="/h", endpoint="/h", fault=fault,
                    routes=(Route(method="GET", path="/v1/x", handler=crash, policy="public"),))]
""",
    "bad_reconciler": """
from node.sdk import *
class Crash(Reconciler):
    name = "crash"
    def keys(self): return ["k"]
    def affected(self, row_type, id): return []
    def reconcile(self, key): raise RuntimeError("cannot")
class Unstartable(Crash):
    name = "unstartable"
    def start(self): raise RuntimeError("never")
class Thief(Crash):
    name = "book"
@hookimpl
def reconcilers(control): return [Crash(control), Unstartable(control), Thief(control)]
""",
}
NAMED = set(BROKEN) - {"bad_handler"}
"""Those whose hooks fail, in whichever process; a handler that fails answers 500 and is logged."""


def test_broken_plugins_are_named_and_the_node_goes_on(tmp_path: Path) -> None:
    # `zz_` loads them behind the book, so that what they try to take is taken already.
    plugins = {f"zz_{name}": text for name, text in BROKEN.items()}
    daemon = Daemon(
        tmp_path, plugins=plugins, more="[no_import]\nkey = value\n[book]\ngreeting = hi\n"
    )
    daemon.start()
    try:
        assert daemon.ask("POST", "me")[0] == 201
        assert daemon.ask("GET", path="/h/v1/x")[0] == 500
        assert daemon.ask("GET")[1]["greeting"] == "hi"
        daemon.until(lambda: daemon.ask("GET")[1]["entries"][0]["have"] == "signed", "unsigned")
        daemon.until(
            lambda: (
                {"reconciler crash", "reconciler unstartable"}
                <= {h["name"] for h in daemon.status()["health"] if not h["ok"]}
            ),
            "the reconcilers are not named",
        )
        for _twice in range(2):
            status = daemon.status()
            wrong = {p["name"].removeprefix("zz_"): p for p in status["plugins"] if p["error"]}
            assert set(wrong) == NAMED
            assert wrong["bad_token"]["source"] == "API: hook token_verify"
            lines = [(p["name"], p["source"]) for p in status["plugins"]]
            assert len(lines) == len(set(lines))
        shown = subprocess.run(
            [sys.executable, "-m", "node.cli", "status", "--config", str(daemon.config)],
            capture_output=True, text=True, check=False, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""},
        )  # fmt: skip
        broken = next(line for line in shown.stdout.splitlines() if "zz_no_import:" in line)
        assert "zz_no_import.py: ModuleNotFoundError" in broken
        assert "sick" in shown.stdout
        assert daemon.process is not None and daemon.process.poll() is None
    finally:
        daemon.stop()


def test_an_installed_distribution_is_found_by_its_entry_point(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    site, source = tmp_path / "site", tmp_path / "source"
    source.mkdir()
    (tmp_path / "plugins" / "book.py").rename(source / "guest_book.py")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "guest-book"\nversion = "1"\n'
        '[project.entry-points.hedgerow]\nguest_book = "guest_book"\n'
        '[tool.hatch.build.targets.wheel]\ninclude = ["guest_book.py"]\n'
    )
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, timeout=120)
    daemon.path = str(site)
    daemon.start()
    try:
        assert daemon.ask("POST", "me")[0] == 201
        found = {p["name"]: p for p in daemon.status()["plugins"]}
        assert found["guest_book"]["source"] == "entry point"
        assert found["guest_book"]["error"] == ""
    finally:
        daemon.stop()
