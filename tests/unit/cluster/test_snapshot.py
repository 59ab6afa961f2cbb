"""A copy of the rows on its way between two nodes over real links: cut, damaged, withdrawn, refused."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from node.cluster import space
from node.cluster.catchup import LogStart
from node.cluster.fetch import Exchange, Fetcher, Ranges, RpcRanges
from node.cluster.peers import Address, PeerNetwork
from node.cluster.rpc import Rpc
from node.cluster.snapshot import Copies, CopyLimits
from node.cluster.space import check_room
from node.errors import Conflict, DiskFull, Unavailable
from node.state.machine import Machine
from node.state.row import Row, Table
from node.state.txn import Define, Txn, encode_entry, encode_txn, insert
from node.testing.certificates import TestAuthority


class Thing(Row):
    __table__ = Table(name="things")

    text: str = ""


def until(holds: Callable[[], object], deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)


def filled(path: Path, rows: int) -> Machine:
    store = Machine(path)
    things = [insert(Thing(id=f"{path.stem}-{n}", text=f"{n:0900d}")) for n in range(rows)]
    for op in (Define(Thing.__table__), *things):
        index = store.applied_index + 1
        txn = Txn(request_id=f"{path.stem}{index}", ops=(op,))
        store.apply(index, encode_entry([encode_txn(txn)]))
    return store


class Log:
    """Stands for the log of either side: notes what is asked of it."""

    def __init__(self, refuses: bool = False) -> None:
        self.pinned: int | None = None
        self.pins: list[int | None] = []
        self.installed: list[LogStart] = []
        self.refuses = refuses
        self.refusals = 0
        self.log_bytes = 0

    def log_start(self, index: int) -> LogStart | None:
        return LogStart(index=index, term=3, command=b"\0entry", previous_term=2, voters=("a", "b"))

    def pin_log(self, index: int | None) -> None:
        self.pinned = index
        self.pins.append(index)

    def install(self, start: LogStart, restore: Callable[[], None]) -> None:
        if self.refuses:
            self.refusals += 1
            raise Conflict("the log is as far already")
        restore()
        self.installed.append(start)


class Pair:
    """A node that has rows and one that needs them."""

    def __init__(self, place: Path, rows: int = 600) -> None:
        self.place = place
        self.source, self.target = filled(place / "source.db", rows), Machine(place / "target.db")
        self.leader_log, self.log = Log(), Log()
        self.authority = TestAuthority(place / "ca")
        self.book: dict[str, Address] = {}
        self.nets = [self.net("a"), self.net("b")]
        self.copies = self.copying()
        self.copies.serve(Rpc(self.nets[0]))
        for name, net in zip("ab", self.nets, strict=True):
            net.start()
            self.book[name] = ("127.0.0.1", net.port)
        self.ranges = RpcRanges(Rpc(self.nets[1]))
        self.fetchers: list[Fetcher] = []

    def net(self, name: str) -> PeerNetwork:
        files = self.authority.node(name)
        return PeerNetwork(
            node_id=name,
            credentials=lambda: files,
            addresses=self.book.get,
            listen=("127.0.0.1", 0),
        )

    def copying(self, **limits: float) -> Copies:
        return Copies(self.source, self.leader_log, self.place / "out", CopyLimits(**limits))

    def fetching(self, ranges: Ranges | None = None, **more: Any) -> Fetcher:
        made = Fetcher(self.target, self.log, ranges or self.ranges, self.place / "in", **more)
        self.fetchers.append(made)
        return made

    def offer(self) -> dict[str, Any]:
        until(lambda: self.copies.offer("b") is not None)
        offer = self.copies.offer("b")
        assert offer is not None
        return offer

    def close(self) -> None:
        for fetcher in self.fetchers:
            fetcher.stop()
        self.copies.stop()
        for net in self.nets:
            net.stop()
        self.source.close()
        self.target.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.close()


def files(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_a_copy_travels_and_is_put_in_place(pair: Pair) -> None:
    assert pair.copies.offer("b") is None
    told: list[bool] = []
    fetcher = pair.fetching(on_restored=lambda: told.append(True))
    exchange = Exchange(pair.copies.offer, fetcher)
    offer = pair.offer()
    assert pair.leader_log.pinned == pair.source.applied_index
    exchange.take("a", offer)
    until(lambda: told)
    assert pair.target.applied_index == pair.source.applied_index
    assert pair.target.digest() == pair.source.digest()
    (start,) = pair.log.installed
    assert start == pair.leader_log.log_start(pair.source.applied_index)
    assert start.command == b"\0entry"
    until(lambda: fetcher.progress is None)
    assert files(pair.place / "in") == []


def test_one_copy_serves_all_and_goes_when_nobody_wants_it(pair: Pair) -> None:
    pair.copies = pair.copying(idle_s=0.4)
    first = pair.offer()
    assert pair.copies.offer("c") == first
    assert len(files(pair.place / "out")) == 1
    until(lambda: pair.leader_log.pins[-1] is None)
    assert files(pair.place / "out") == []
    assert pair.offer()["name"] != first["name"]


def test_a_copy_that_is_too_old_is_given_up(pair: Pair) -> None:
    pair.copies = pair.copying(age_s=0.2)
    first = pair.offer()
    until(lambda: (pair.copies.offer("b") or first)["name"] != first["name"])


def test_a_copy_that_pins_too_much_of_the_log_is_given_up(pair: Pair) -> None:
    pair.offer()
    pair.leader_log.log_bytes = 1 << 30
    until(lambda: pair.leader_log.pins[-1] is None)


def test_stopping_leaves_no_file_and_no_pin(pair: Pair) -> None:
    pair.offer()
    pair.copies.stop()
    assert files(pair.place / "out") == []
    assert pair.leader_log.pinned is None
    assert pair.copies.offer("b") is None


def test_what_an_earlier_process_left_is_removed(pair: Pair) -> None:
    (pair.place / "out" / "out-left").write_bytes(b"x")
    pair.copying()
    assert files(pair.place / "out") == []


class Cut:
    """Ranges that break off after some bytes."""

    def __init__(self, ranges: Ranges, after: int) -> None:
        self.ranges, self.after = ranges, after
        self.begun: list[int] = []
        self.sent = 0

    @contextmanager
    def open(self, node_id: str, name: str, offset: int) -> Iterator[BinaryIO]:
        self.begun.append(offset)
        with self.ranges.open(node_id, name, offset) as stream:
            data = stream.read(self.after)
            self.sent += len(data)
            yield io.BytesIO(data)
            raise Unavailable("the link broke")


def test_after_each_cut_only_the_rest_is_fetched(pair: Pair) -> None:
    cut = Cut(pair.ranges, after=200_000)
    offer = pair.offer()
    fetcher = pair.fetching(cut)
    fetcher.take("a", offer)
    until(lambda: pair.log.installed)
    assert len(cut.begun) >= 3
    assert cut.begun == [200_000 * n for n in range(len(cut.begun))]
    assert cut.sent == offer["size"]
    assert pair.target.digest() == pair.source.digest()


def test_a_restart_goes_on_where_the_last_process_ended(pair: Pair) -> None:
    offer = pair.offer()
    first = pair.fetching(bytes_per_s=100_000)
    first.take("a", offer)
    until(lambda: first.progress is not None and first.progress.fetched >= 1)
    first.stop()
    (part,) = (pair.place / "in").iterdir()
    held = part.stat().st_size
    assert 0 < held < offer["size"]
    whole = Cut(pair.ranges, after=1 << 30)
    pair.fetching(whole).take("a", offer)
    until(lambda: pair.log.installed)
    assert whole.begun[0] == held
    assert pair.target.digest() == pair.source.digest()


class Spoiled:
    """Ranges that change a byte, the first time."""

    def __init__(self, ranges: Ranges) -> None:
        self.ranges, self.count = ranges, 0

    @contextmanager
    def open(self, node_id: str, name: str, offset: int) -> Iterator[BinaryIO]:
        with self.ranges.open(node_id, name, offset) as stream:
            data = bytearray(stream.read())
            if not self.count:
                data[len(data) // 2] ^= 1
            self.count += 1
            yield io.BytesIO(bytes(data))


def test_a_damaged_copy_is_fetched_anew_and_never_put_in_place(pair: Pair) -> None:
    spoiled = Spoiled(pair.ranges)
    pair.fetching(spoiled).take("a", pair.offer())
    until(lambda: pair.log.installed)
    assert spoiled.count == 2
    assert pair.target.digest() == pair.source.digest()


def test_a_copy_that_has_gone_is_replaced_by_the_next_offer(pair: Pair) -> None:
    gone = {**pair.offer(), "name": "out-gone", "sha256": "0" * 64}
    fetcher = pair.fetching()
    fetcher.take("a", gone)
    fetcher.take("x", pair.offer())
    fetcher.take("a", pair.offer())
    until(lambda: pair.log.installed)
    assert pair.target.digest() == pair.source.digest()


def test_an_older_copy_is_not_fetched_and_one_that_the_log_refuses_is_dropped(
    pair: Pair,
) -> None:
    offer = pair.offer()
    pair.log.refuses = True
    fetcher = pair.fetching()
    fetcher.take("a", offer)
    until(lambda: pair.log.refusals)
    until(lambda: fetcher.progress is None)
    assert files(pair.place / "in") == []
    assert pair.target.applied_index == 0
    pair.log.refuses = False
    fetcher.take("a", {**offer, "start": {**offer["start"], "index": 0}})
    fetcher.take("a", {"name": "nonsense"})
    until(lambda: fetcher.take("a", offer) or pair.log.installed)


def test_a_copy_of_another_entry_than_was_said_is_refused(pair: Pair) -> None:
    offer = pair.offer()
    wrong = {**offer, "start": {**offer["start"], "index": offer["start"]["index"] + 1}}
    whole = Cut(pair.ranges, after=1 << 30)
    fetcher = pair.fetching(whole)
    fetcher.take("a", wrong)
    until(lambda: whole.begun)
    fetcher.take("a", offer)
    until(lambda: pair.log.installed)
    assert pair.log.installed[0].index == pair.source.applied_index


def test_nothing_is_begun_for_which_there_is_no_room(pair: Pair) -> None:
    with pytest.raises(DiskFull, match="lacks"):
        check_room(pair.place, 1 << 60)
    offer = pair.offer()
    whole = Cut(pair.ranges, after=1 << 30)
    fetcher = pair.fetching(whole)
    fetcher.take("a", {**offer, "size": 1 << 60})
    fetcher.take("a", offer)
    until(lambda: pair.log.installed)
    assert len(whole.begun) == 1


def test_a_copy_that_cannot_be_made_is_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(space, "free_bytes", lambda _path: 1000)
        assert pair.copies.offer("b") is None
        until(pair.copies.health)
        ((_, ok, detail),) = pair.copies.health()
        assert not ok
        assert "node b needs" in detail
        assert pair.leader_log.pins == []
    pair.offer()
    assert pair.copies.health() == []


def test_the_speed_is_limited(pair: Pair) -> None:
    offer = pair.offer()
    begin = time.monotonic()
    pair.fetching(bytes_per_s=offer["size"] * 2).take("a", offer)
    until(lambda: pair.log.installed)
    assert time.monotonic() - begin > 0.3
