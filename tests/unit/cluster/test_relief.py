"""Who leads when the leader's disk is short of room: another voter that has some, and nobody else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.cluster import space
from node.cluster.relief import ROOM_PATH, Relief
from node.cluster.rpc import Answer, RpcReply, RpcRequest
from node.cluster.status import Follower, Status
from node.errors import BadRequest, DiskFull, Unavailable

LEADER = Status(
    role="leader", term=3, commit_index=9, applied_index=9, leader_id="a", last_tick_age_s=0, journal_entries=9,
    journal_bytes=9, disk_full=False, connections=0, waiting=0, fault="", last_index=9,
)  # fmt: skip


def follower(node_id: str, match_index: int = 9, contact_age_s: float | None = 0.1) -> Follower:
    return Follower(
        node_id=node_id, match_index=match_index, contact_age_s=contact_age_s, is_connected=True
    )


class Others:
    """The other nodes: how many bytes of room each has."""

    def __init__(self, **room: int) -> None:
        self.room = room
        self.asked: list[str] = []
        self.answer: Answer = lambda _request: RpcReply()

    def route(self, method: str, path: str, answer: Answer) -> None:
        assert (method, path) == ("GET", ROOM_PATH)
        self.answer = answer

    def call(
        self, node_id: str, method: str, path: str, *, query: dict[str, str], timeout_s: float
    ) -> RpcReply:
        self.asked.append(node_id)
        if node_id not in self.room:
            raise Unavailable(f"{node_id} is away")
        return RpcReply(status=200 if self.room[node_id] > int(query["bytes"]) else 507)


class Log:
    """Stands where the test says."""

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        self.heirs: list[str | None] = []

    def status(self) -> Status:
        return msgspec.structs.replace(LEADER, **self.facts)

    def transfer_leadership(self, node_id: str | None, callback: Callable[[str], None]) -> None:
        self.heirs.append(node_id)
        callback("busy")


def test_a_full_leader_gives_way_to_the_voter_that_is_farthest_and_has_room(tmp_path: Path) -> None:
    log = Log(disk_full=True, voters=(follower("b", 7), follower("c", 9), follower("d", 8)))
    others = Others(b=1, c=0, d=1)
    relief = Relief(others, log, tmp_path)
    assert relief.step(100.0) == "d"
    assert (others.asked, log.heirs) == (["c", "d"], ["d"])
    assert relief.step(101.0) == ""
    assert relief.step(106.0) == "d"


def test_it_stays_where_nobody_has_room_or_answers(tmp_path: Path) -> None:
    log = Log(disk_full=True, voters=(follower("b"), follower("c"), follower("e", 9, 60.0), follower("f", 9, None)))
    others = Others(b=0, e=9, f=9)
    assert Relief(others, log, tmp_path).step(100.0) == ""
    assert set(others.asked) == {"b", "c"}
    assert log.heirs == []


@pytest.mark.parametrize("facts", [{"role": "follower", "disk_full": True}, {"disk_full": False}])
def test_whoever_does_not_lead_or_has_room_asks_nobody(tmp_path: Path, facts: Any) -> None:
    log, others = Log(voters=(follower("b"),), **facts), Others(b=9)
    assert Relief(others, log, tmp_path).step(100.0) == ""
    assert others.asked == []


def test_who_cannot_copy_gives_way_to_one_who_can_but_not_to_the_one_that_needs_it(tmp_path: Path) -> None:  # fmt: skip
    log = Log(voters=(follower("b"), follower("c")))
    others = Others(b=1 << 40, c=1 << 40)
    relief = Relief(others, log, tmp_path)
    relief.lacks(5 << 30, "b")
    assert relief.step(100.0) == "c"
    assert relief.step(200.0) == ""  # once: it is told again while it lacks room


def test_whoever_is_asked_looks_at_its_own_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    others, log = Others(), Log()
    Relief(others, log, tmp_path)

    def asked(size: str) -> RpcReply:
        return others.answer(RpcRequest(node_id="a", query={"bytes": size}, headers={}, body=b""))

    monkeypatch.setattr(space, "free_bytes", lambda _path: 1 << 30)
    assert asked("1000").status == 200
    with pytest.raises(DiskFull):
        asked(str(1 << 30))
    for bad in ("", "-1", "x", "9" * 16):
        with pytest.raises(BadRequest):
            asked(bad)
    log.facts["disk_full"] = True
    with pytest.raises(DiskFull):
        asked("0")
