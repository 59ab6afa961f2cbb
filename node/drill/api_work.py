"""Clients of the HTTP API of all nodes: real resources whose answers can be judged.

- A network's description, changed under `If-Match: revision_number=N`: a register whose version the API itself tells.
- Key pairs of few names: creating one takes the name (409 while it is taken), deleting frees it (404 while it is free).
- Networks of one name, which may be many: creating adds one, deleting takes one, a listing counts them.

An answer of 5xx, or none, leaves open whether it happened.
"""

import http.client
import random
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from node.drill.errors import DrillFault
from node.drill.history import History, Outcome, Pending
from node.drill.site import Seat, Site
from node.types import Frozen

_ANSWER_S = 8.0
_CHAPTER_S = 10.0
_NAMES, _REGISTERS, _COUNTS = 3, 2, 3
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHbHkf/wXQW8JXD8bX9xPjFsZHgxnQ4vhsNFAS4xgcWT drill"
_KEYPAIRS = "/compute/v2.1/os-keypairs"
_NETWORKS = "/network/v2.0/networks"


class Access(Frozen):
    """How to sign in: the same for all nodes."""

    port: int
    ca: Path
    password: str


class Answer(Frozen):
    """An answer; status 0: none came, -1: nobody was reached."""

    status: int
    body: Any = None
    is_stale: bool = False
    """Whether the node said that it may be behind, as it reaches no leader."""

    @property
    def outcome(self) -> Outcome:
        """Return what it says about whether it happened."""
        if 200 <= self.status < 300:
            return "ok"
        return "refused" if self.status in (404, 409, 412) else "unknown"

    @property
    def is_fresh(self) -> bool:
        """Return whether it shows the present."""
        return self.status == 200 and not self.is_stale

    def tell(self, pending: Pending) -> None:
        """Note it."""
        if self.status < 0 or (self.is_stale and self.outcome == "refused"):
            pending.never_sent()
        else:
            pending.came_to(self.outcome)


class ApiSeat:
    """One node's API. Thread-safe: each thread has a connection of its own."""

    def __init__(self, seat: Seat, access: Access, context: ssl.SSLContext) -> None:
        self.name = seat.name
        self._seat = seat
        self._access = access
        self._context = context
        self._local = threading.local()

    def ask(
        self, method: str, path: str, token: str, body: object = None, **headers: str
    ) -> tuple[Answer, dict[str, str]]:
        """Send a request once."""
        sent = {"X-Auth-Token": token, "Content-Type": "application/json"}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        data = None if body is None else msgspec.json.encode(body)
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = http.client.HTTPSConnection(
                self._seat.host, self._access.port, context=self._context, timeout=_ANSWER_S
            )
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            connection.close()
            return Answer(status=-1), {}
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self._local.connection = None
            return Answer(status=0), {}
        decoded = msgspec.json.decode(text) if text[:1] in (b"{", b"[") else None
        found = {name.lower(): value for name, value in answer.getheaders()}
        is_stale = found.get("warning", "").startswith("110")
        return Answer(status=answer.status, body=decoded, is_stale=is_stale), found

    def sign_in(self) -> str:
        """Return a token, empty when there is no answer."""
        user = {"name": "admin", "domain": {"id": "default"}, "password": self._access.password}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        body = {"auth": {"identity": identity, "scope": scope}}
        answer, headers = self.ask("POST", "/identity/v3/auth/tokens", "", body)
        return headers.get("x-subject-token", "") if answer.status == 201 else ""


class ApiClients:
    """Threads that each do one request after the other."""

    def __init__(self, site: Site, access: Access, history: History, count: int, seed: int) -> None:
        self._site = site
        self._access = access
        self._context = ssl.create_default_context(cafile=str(access.ca))
        self.seats: list[ApiSeat] = []
        self.reseat()
        self.errors: list[str] = []
        self._history = history
        self._ending = threading.Event()
        self._began_s = time.monotonic()
        self._mark = f"drill-{seed}-{random.randrange(1 << 30):x}"
        self._token = ""
        self._tidied = 0
        self._registers: dict[str, str] = {}
        self._counted: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, args=(number, random.Random(f"api {seed}/{number}")), daemon=True)
            for number in range(count)
        ]  # fmt: skip

    def reseat(self) -> None:
        """Go on with the nodes that there are now."""
        there = {seat.name: seat for seat in self.seats}
        self.seats = [
            there.get(seat.name) or ApiSeat(seat, self._access, self._context)
            for seat in self._site.seats()
        ]

    def prepare(self, timeout_s: float = 60.0) -> None:
        """Sign in and make the networks whose descriptions are the registers.

        Raises:
            DrillFault: no node lets us in, or makes a network, in time.
        """
        deadline = time.monotonic() + timeout_s
        while not (self._token and len(self._registers) == _REGISTERS):
            if time.monotonic() > deadline:
                raise DrillFault(
                    "No node signs the drill in and makes a network: see `hedgerow status`"
                )
            seat = random.choice(self.seats)
            self._token = self._token or seat.sign_in()
            name = f"{self._mark}-register-{len(self._registers)}"
            body = {"network": {"name": name, "admin_state_up": False}}
            answer, _ = seat.ask("POST", _NETWORKS, self._token, body)
            if answer.status == 201:
                self._registers[f"revision/{len(self._registers)}"] = answer.body["network"]["id"]
            else:
                time.sleep(0.2)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Let each client end its request."""
        self._ending.set()
        for thread in self._threads:
            thread.join(_ANSWER_S * 3)

    def finals(self) -> dict[str, dict[str, list[str]]]:
        """Return every register as each node shows it in the end: version and value."""
        found: dict[str, dict[str, list[str]]] = {}
        for seat in self.seats:
            for thing, network_id in self._registers.items():
                answer = self._insist(seat, f"{_NETWORKS}/{network_id}")
                if answer.status == 200:
                    network = answer.body["network"]
                    held = [str(network["revision_number"]), network["description"]]
                    found.setdefault(seat.name, {})[thing] = held
        return found

    def clean(self) -> None:
        """Delete what the drill made."""
        seat = self.seats[0]
        listed = self._insist(seat, _NETWORKS).body or {}
        for network in listed.get("networks", []):
            if network["name"].startswith(self._mark):
                seat.ask("DELETE", f"{_NETWORKS}/{network['id']}", self._token)
        listed = self._insist(seat, _KEYPAIRS).body or {}
        for pair in listed.get("keypairs", []):
            if pair["keypair"]["name"].startswith(self._mark):
                seat.ask("DELETE", f"{_KEYPAIRS}/{pair['keypair']['name']}", self._token)

    def _insist(self, seat: ApiSeat, path: str) -> Answer:
        answer = Answer(status=0)
        for _try in range(20):
            answer, _ = seat.ask("GET", path, self._token)
            if answer.status == 200:
                break
            time.sleep(0.5)
        return answer

    def _work(self, client: int, chance: random.Random) -> None:
        deeds: list[Callable[[int, random.Random, ApiSeat], None]] = [
            self._revise, self._see, self._take, self._free, self._look, self._add, self._drop, self._count,
        ]  # fmt: skip
        while not self._ending.is_set():
            try:
                self._tidy(chance)
                chance.choice(deeds)(client, chance, chance.choice(self.seats))
            except Exception as error:  # noqa: BLE001 - it is told at the end and fails the drill
                self.errors.append(f"api client {client}: {type(error).__name__}: {error}")
                return

    def _tidy(self, chance: random.Random) -> None:
        """Free the names that nobody uses any more: a project may have so many."""
        with self._lock:
            if self._tidied >= self._chapter() - 1:
                return
            chapter, self._tidied = self._tidied, self._tidied + 1
        for number in range(_NAMES):
            for _try in range(5):
                path = f"{_KEYPAIRS}/{self._mark}-{chapter}-{number}"
                answer, _ = chance.choice(self.seats).ask("DELETE", path, self._token)
                if answer.outcome != "unknown":
                    break

    def _ask(
        self, seat: ApiSeat, method: str, path: str, body: object = None, **headers: str
    ) -> Answer:
        answer, _ = seat.ask(method, path, self._token, body, **headers)
        if answer.status <= 0:
            self._ending.wait(0.05)
        elif answer.outcome == "unknown" and answer.status < 500:
            self.errors.append(
                f"{seat.name}: {method} {path} was answered {answer.status} {answer.body}"
            )
        return answer

    def _chapter(self) -> int:
        return int((time.monotonic() - self._began_s) / _CHAPTER_S)

    def _name(self, chance: random.Random, kind: str, count: int) -> tuple[str, str]:
        number = f"{self._chapter()}-{chance.randrange(count)}"
        return f"{kind}/{number}", f"{self._mark}-{number}"

    # -- registers

    def _revise(self, client: int, chance: random.Random, seat: ApiSeat) -> None:
        thing, network_id = chance.choice(sorted(self._registers.items()))
        path = f"{_NETWORKS}/{network_id}"
        held = self._ask(chance.choice(self.seats), "GET", path)
        if held.status != 200:
            return
        version, value = (
            held.body["network"]["revision_number"],
            f"{client}-{chance.randbytes(6).hex()}",
        )
        body = {"network": {"description": value}}
        with self._history.operation(
            thing, "write", seat.name, client, value=value, version=version
        ) as pending:
            answer = self._ask(seat, "PUT", path, body, If_Match=f"revision_number={version}")
            answer.tell(pending)

    def _see(self, client: int, chance: random.Random, seat: ApiSeat) -> None:
        thing, network_id = chance.choice(sorted(self._registers.items()))
        with self._history.operation(thing, "read", seat.name, client) as pending:
            answer = self._ask(seat, "GET", f"{_NETWORKS}/{network_id}")
            if answer.is_fresh:
                network = answer.body["network"]
                seen = (network["description"],) if network["description"] else ()
                pending.came_to("ok", version=network["revision_number"], seen=seen)

    # -- names

    def _take(self, client: int, chance: random.Random, seat: ApiSeat) -> None:
        thing, name = self._name(chance, "name", _NAMES)
        with self._history.operation(thing, "create", seat.name, client) as pending:
            body = {"keypair": {"name": name, "public_key": _KEY}}
            self._ask(seat, "POST", _KEYPAIRS, body).tell(pending)

    def _free(self, client: int, chance: random.Random, seat: ApiSeat) -> None:
        thing, name = self._name(chance, "name", _NAMES)
        with self._history.operation(thing, "delete", seat.name, client) as pending:
            self._ask(seat, "DELETE", f"{_KEYPAIRS}/{name}").tell(pending)

    def _look(self, client: int, chance: random.Random, seat: ApiSeat) -> None:
        thing, name = self._name(chance, "name", _NAMES)
        with self._history.operation(thing, "read", seat.name, client) as pending:
            answer = self._ask(seat, "GET", f"{_KEYPAIRS}/{name}")
            if answer.outcome != "unknown" and not answer.is_stale:
                pending.came_to("ok", version=int(answer.status == 200))

    # -- counts

    def _add(self, client: int, chance: random.Random, seat: ApiSeat) -> None:
        thing, name = self._name(chance, "count", _COUNTS)
        with self._history.operation(thing, "create", seat.name, client) as pending:
            body = {"network": {"name": name, "admin_state_up": False}}
            answer = self._ask(seat, "POST", _NETWORKS, body)
            answer.tell(pending)
        if answer.status == 201:
            with self._lock:
                self._counted.setdefault(thing, set()).add(answer.body["network"]["id"])

    def _drop(self, client: int, chance: random.Random, seat: ApiSeat) -> None:
        thing, _name = self._name(chance, "count", _COUNTS)
        with self._lock:
            ids = self._counted.get(thing)
            network_id = ids.pop() if ids else ""
            old = [
                one
                for one in self._counted
                if int(one.partition("/")[2].partition("-")[0]) < self._chapter() - 1
            ]
            leftover = self._counted.pop(old[0]) if old else set()
        for one in leftover:  # nobody looks at these any more
            self._ask(seat, "DELETE", f"{_NETWORKS}/{one}")
        if network_id:
            with self._history.operation(thing, "delete", seat.name, client) as pending:
                self._ask(seat, "DELETE", f"{_NETWORKS}/{network_id}").tell(pending)

    def _count(self, client: int, chance: random.Random, seat: ApiSeat) -> None:
        thing, name = self._name(chance, "count", _COUNTS)
        with self._history.operation(thing, "read", seat.name, client) as pending:
            answer = self._ask(seat, "GET", f"{_NETWORKS}?name={name}")
            if answer.is_fresh:
                pending.came_to("ok", version=len(answer.body["networks"]))
