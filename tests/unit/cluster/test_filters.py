"""The rules about appends, against a reference: random histories of a leader and late, repeated messages."""

import random

import msgspec
import pytest

from node.cluster.filters import incoming_append
from node.cluster.prevote import LogEnd, PreVotes

Entry = tuple[bytes, int, int]


class Log(msgspec.Struct):
    """A follower's log, to which verdicts are applied as the library does."""

    entries: list[Entry]
    committed: int = 1

    @property
    def first_index(self) -> int:
        return self.entries[0][1]

    @property
    def last_index(self) -> int:
        return self.entries[-1][1]

    def term_at(self, index: int) -> int | None:
        at = index - self.first_index
        return self.entries[at][2] if 0 <= at < len(self.entries) else None

    def take(self, message: dict[str, object]) -> dict[str, object] | None:
        verdict = incoming_append(message, self, self.committed)
        passed, reply = verdict.message, verdict.reply
        if passed is None:
            return reply
        if "prevLogIdx" in passed:
            at = int(str(passed["prevLogIdx"])) - self.first_index
            new = passed["entries"]
            assert isinstance(new, list)
            if verdict.conflict is not None:
                assert verdict.conflict > self.committed
            self.entries[at + 1 :] = new
            reply = {"success": True, "next_node_idx": self.last_index + 1}
        self.committed = max(self.committed, min(int(passed["commit_index"]), self.last_index))
        return reply


def append(leader: list[Entry], start: int, end: int, term: int, commit: int) -> dict[str, object]:
    """Return the message that carries the entries from start to end of a log that begins at index 1."""
    return {
        "type": "append_entries",
        "term": term,
        "commit_index": commit,
        "prevLogIdx": leader[start - 2][1],
        "prevLogTerm": leader[start - 2][2],
        "entries": leader[start - 1 : end],
    }


@pytest.mark.parametrize("seed", range(30))
def test_late_and_repeated_appends_never_take_back_an_acknowledgement(seed: int) -> None:
    rng = random.Random(seed)
    leader: list[Entry] = [(b"", 1, 0)] + [(bytes([n]), n, 1 + n // 7) for n in range(2, 40)]
    follower = Log([*leader[:3], *[(b"other", n, 1) for n in range(4, rng.randint(4, 20))]])
    if rng.random() < 0.5:
        del follower.entries[:2]
        follower.committed = 3
    acknowledged = 0
    for _ in range(200):
        start = rng.randint(2, 39)
        end = rng.randint(start - 1, min(39, start + 8))
        commit = min(acknowledged, rng.randint(0, 39))
        reply = follower.take(append(leader, start, end, 9, commit))
        assert reply is not None
        if reply["success"]:
            acknowledged = max(acknowledged, int(str(reply["next_node_idx"])) - 1)
        for index in range(follower.first_index, acknowledged + 1):
            assert follower.term_at(index) == leader[index - 1][2]
        assert follower.committed <= max(acknowledged, 3)
    for start in range(2, 40):
        follower.take(append(leader, start, 39, 9, 39))
    assert follower.entries[-1] == leader[-1]


def test_entries_with_a_gap_are_taken_for_a_sign_of_life_only() -> None:
    log = Log([(b"", 1, 0)])
    message = append([(b"", 1, 0), (b"x", 3, 1)], 2, 2, 1, 3)
    assert log.take(message) == {
        "type": "next_node_idx", "next_node_idx": 1, "success": False, "reset": False,
    }  # fmt: skip
    assert log.last_index == log.committed == 1


END = LogEnd(term=3, last_index=10, last_term=3)


def question(term: int = 4, index: int = 10, last_term: int = 3) -> dict[str, object]:
    return {"term": term, "round": 1, "last_log_index": index, "last_log_term": last_term}


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (question(), True),
        (question(index=9), False),
        (question(index=1, last_term=4), True),
        (question(last_term=2, index=99), False),
        (question(term=3), False),
    ],
)
def test_a_pre_vote_is_given_as_a_vote_would_be(asked: dict[str, object], granted: bool) -> None:
    assert PreVotes((1, 2)).answer(asked, 100.0, END, leads=False)["granted"] is granted
    assert not PreVotes((1, 2)).answer(asked, 100.0, END, leads=True)["granted"]


def test_whoever_heard_its_leader_gives_none_until_it_misses_it() -> None:
    votes = PreVotes((1, 2))
    votes.heard_leader(100.0)
    assert not votes.answer(question(), 100.9, END, leads=False)["granted"]
    assert votes.answer(question(), 101.1, END, leads=False)["granted"]
    votes.heard_leader(102.0)
    votes.lost_leader(102.1)
    assert votes.answer(question(), 102.1, END, leads=False)["granted"]


def test_a_majority_counts_each_voter_once_and_only_of_this_round() -> None:
    votes, voters = PreVotes((1, 2)), {"b", "c", "d", "e"}
    _, asked = votes.ask(100.0, END)
    yes = {"round": asked["round"], "granted": True}
    assert not votes.take_reply("b", yes, voters)
    assert not votes.take_reply("b", yes, voters)
    assert not votes.take_reply("x", yes, voters)
    assert not votes.take_reply("c", {**yes, "granted": False}, voters)
    assert votes.take_reply("c", yes, voters)
    assert not votes.take_reply("d", yes, voters)
    _, again = votes.ask(101.0, END)
    assert not votes.take_reply("b", yes, voters)
    votes.take_reply("b", {**yes, "round": again["round"]}, voters)
    votes.heard_leader(101.5)
    assert not votes.take_reply("c", {**yes, "round": again["round"]}, voters)
