"""Starts, asks and kills a core process (log_core.py), and makes and checks its load."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from node.cluster.client import ProposalClient
from node.cluster.settings import RaftSettings
from node.errors import NodeError
from node.state.row import Table
from node.state.txn import Applied, Count, Define, Insert, Txn, decode_outcome, encode_txn

ROOT = Path(__file__).resolve().parents[2]
TABLE = Table(name="probe")


class CoreProcess:
    """A core on `place/data` with its socket at `place/s`."""

    def __init__(self, place: Path, settings: RaftSettings) -> None:
        self.place = place
        arguments = (str(place / "data"), msgspec.json.encode(settings).decode())
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "probe" / "log_core.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        line = self.process.stdout.readline() if self.process.stdout else ""
        assert line == "ready\n", f"the core did not start: {line!r}"

    def status(self) -> dict[str, Any]:
        """Return its status."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("status\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        """End it as a power cut of the process would."""
        self.process.kill()
        self._gone()

    def stop(self) -> None:
        """End it in order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self._gone()

    def _gone(self) -> None:
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Load:
    """Threads that each insert rows and add to one counter, one after the other, and note what was acknowledged."""

    def __init__(self, place: Path, threads: int) -> None:
        self.client = ProposalClient(place / "s")
        self.acked: list[str] = []
        self.tried: list[str] = []
        self.surprises: list[object] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(threads)]

    def define(self) -> None:
        """Make the table."""
        self.client.propose(encode_txn(Txn(request_id="define", ops=(Define(TABLE),))), 20)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Let each thread finish its last request."""
        self._end.set()
        for thread in self._threads:
            thread.join()
        self.client.close()

    def _work(self, worker: int) -> None:
        number = 0
        while not self._end.is_set():
            name = f"{worker}-{number}"
            number += 1
            self.tried.append(name)
            document = json.dumps({"id": name, "note": "x" * 300})
            ops = (Insert("probe", name, document), Count("all", 1))
            try:
                outcome = decode_outcome(
                    self.client.propose(encode_txn(Txn(request_id=name, ops=ops)), 60)
                )
            except NodeError as error:
                self.surprises.append(error)
                continue
            if isinstance(outcome, Applied):
                self.acked.append(name)
            else:
                self.surprises.append(outcome)


def stored(place: Path) -> tuple[set[str], int]:
    """Return the ids of the rows in the store and its counter."""
    db = sqlite3.connect(f"file:{place}/data/state.db?mode=ro", uri=True)
    try:
        rows = {name for (name,) in db.execute("SELECT id FROM probe")}
        (count,) = db.execute("SELECT value FROM counters WHERE id='all'").fetchone()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        db.close()
    return rows, count
