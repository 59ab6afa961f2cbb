"""Load on the object store, and a checker of every acknowledged operation against every later read.

Each name has one writer and many readers. What was acknowledged is there from then on until something later is; what
was refused with "no quorum" may come to be at any time, or never.
"""

import random
import threading
import time

from node.errors import NodeError, NotFound
from node.plugins.object.store.contract import Entry, Facts, Query, Store

SIZES = (20, 3_000, 65_536, 150_000, 1_100_000)
ABSENT = b""


class History:
    """All that was tried with one name."""

    def __init__(self) -> None:
        self.values: list[bytes] = [ABSENT]
        self.acknowledged = 0
        """Number of the last operation that was acknowledged."""
        self.unsure: set[int] = set()
        self.lock = threading.Lock()

    def begin(self, value: bytes) -> int:
        with self.lock:
            self.values.append(value)
            return len(self.values) - 1

    def end(self, number: int, *, good: bool) -> None:
        with self.lock:
            if good:
                self.acknowledged = max(self.acknowledged, number)
            else:
                self.unsure.add(number)

    def look(self) -> int:
        with self.lock:
            return self.acknowledged

    def allows(self, value: bytes, since: int) -> bool:
        """Return whether a read that began when `since` was acknowledged may see a value."""
        with self.lock:
            later = self.values[since:]
            return value in later or any(self.values[number] == value for number in self.unsure)


class Load:
    """Writers and readers over all nodes' stores."""

    def __init__(self, stores: list[Store], seed: int, names: int = 12) -> None:
        self.stores = stores
        self.seed = seed
        self.histories = {
            f"w{writer}/{number}": History() for writer in range(3) for number in range(names)
        }
        self.faults: list[str] = []
        self.counts = {"put": 0, "get": 0, "delete": 0, "list": 0, "join": 0, "refused": 0}
        self.stop = threading.Event()
        self._counting = threading.Lock()
        self._threads = [
            threading.Thread(target=self._guard, args=(work, number))
            for work, count in ((self._write, 3), (self._read, 2), (self._list, 1))
            for number in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        self.stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def count(self, what: str) -> None:
        with self._counting:
            self.counts[what] += 1

    def _guard(self, work: object, number: int) -> None:
        chance = random.Random(f"{self.seed}/{work.__name__}/{number}")  # type: ignore[attr-defined]
        while not self.stop.is_set():
            try:
                work(chance, number)  # type: ignore[operator]
            except NodeError as error:
                self.count("refused")
                if isinstance(error, NotFound) and "closed" in error.message:
                    self.faults.append(str(error))
                self.stop.wait(0.05)
            except Exception as error:  # noqa: BLE001 - it is a finding
                self.faults.append(f"{type(error).__name__}: {error}")
                return

    def _write(self, chance: random.Random, writer: int) -> None:
        name = chance.choice([name for name in self.histories if name.startswith(f"w{writer}/")])
        history = self.histories[name]
        store = chance.choice(self.stores)
        kind = chance.choices(["put", "delete", "join"], [6, 2, 1])[0]
        value = ABSENT
        if kind != "delete":
            value = chance.randbytes(8) * (chance.choice(SIZES) // 8 + 1)
        policy = chance.choice(["", "coded"])
        parts = self._parts(store, name, value, policy) if kind == "join" else []
        number = history.begin(value)
        good = False
        try:
            if kind == "delete":
                store.delete("c", name)
            elif kind == "join":
                store.compose("c", name, parts, Facts(etag=str(number)))
            else:
                with store.writer("c", name, policy=policy) as out:
                    for at in range(0, len(value), 100_000):
                        out.write(value[at : at + 100_000])
                    out.commit(Facts(etag=str(number)))
            good = True
            self.count(kind)
        finally:
            history.end(number, good=good)

    def _parts(self, store: Store, name: str, value: bytes, policy: str) -> list[Entry]:
        parts = []
        half = len(value) // 2
        for number, piece in enumerate((value[:half], value[half:])):
            with store.writer("parts", f"{name}/{number}", policy=policy) as out:
                out.write(piece)
                parts.append(out.commit(Facts(etag="part")))
        return parts

    def _read(self, chance: random.Random, _number: int) -> None:
        name = chance.choice(list(self.histories))
        self.check(chance.choice(self.stores), name)
        self.count("get")

    def check(self, store: Store, name: str) -> None:
        """Read a name and hold it against its history. Raises NodeError where it cannot be read."""
        history = self.histories[name]
        for _attempt in range(5):
            since = history.look()
            entry = store.head("c", name)
            try:
                value = ABSENT if entry is None else b"".join(store.read(entry))
            except NotFound:
                continue  # replaced in between
            if not history.allows(value, since):
                place = history.values.index(value) if value in history.values else None
                self.faults.append(
                    f"{name}: read operation {place} ({len(value)} bytes) after {since} of"
                    f" {len(history.values)} was acknowledged; unsure {sorted(history.unsure)}"
                )
            return
        self.faults.append(f"{name}: its bytes are gone again and again")

    def _list(self, chance: random.Random, _number: int) -> None:
        store = chance.choice(self.stores)
        before = {name: h.look() for name, h in self.histories.items()}
        found = {i.name for i in store.list("c", Query()).items if isinstance(i, Entry)}
        for name, history in self.histories.items():
            with history.lock:
                later = history.values[before[name] :]
                possible = {value != ABSENT for value in later}
                possible |= {history.values[number] != ABSENT for number in history.unsure}
            if (name in found) not in possible:
                self.faults.append(f"the listing is wrong about {name}: {name in found}")
        self.count("list")
        time.sleep(0.05)
