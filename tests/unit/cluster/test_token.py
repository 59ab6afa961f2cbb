"""Tokens: their text, what is said of a bad one, and what may be done with those of a cluster."""

import base64
from pathlib import Path

import pytest

from node.cluster.tables import CLUSTER, ClusterRow, JoinToken
from node.cluster.token import DAY_US, JOIN_ONLY, PREFIX, Token, derive, make, parse, read
from node.cluster.token_rules import KEPT_DAYS, MAX_TOKENS, create, revoke, rotate, view
from node.errors import BadRequest, Conflict, NotFound
from node.ids import RandomIds
from node.state.txn import insert
from tests.unit.cluster.rows import Rows

IDS = RandomIds()
NOW = 1_800_000_000_000_000


def test_a_token_survives_its_text_and_the_ways_that_people_copy() -> None:
    token = make(IDS, founders=3, expires_at=NOW)
    assert parse(token.text) == token
    assert parse(f"  {token.text[:40]}\n {token.text[40:]}\n") == token
    assert len(token.secret) == 32
    assert token.is_expired(NOW)
    assert not token.is_expired(NOW - 1)
    assert not make(IDS, founders=1).is_expired(NOW)


def test_a_token_may_name_its_founders() -> None:
    names = ("edge-1", "büro", "x" * 255)
    token = make(IDS, names=names)
    assert parse(token.text) == token
    assert (token.founders, token.names) == (3, names)
    assert [token.has_voice(name) for name in ("edge-1", "edge-2", "")] == [True, False, False]
    assert make(IDS, founders=3).has_voice("anyone")
    assert not make(IDS, cluster_id=IDS.uuid()).has_voice("anyone")
    for bad in (["a", "a"], [""], ["a\0b"], [f"n{n}" for n in range(32)], ["y" * 256]):
        with pytest.raises(BadRequest):
            make(IDS, names=bad)
    text = token.text
    for short in (text[:-1], text[:-9], text[:130], text[:110]):
        with pytest.raises(BadRequest, match=r"not whole|wrong character"):
            parse(short)
    at = len(PREFIX) + 120
    with pytest.raises(BadRequest, match="wrong character"):
        parse(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])


def test_nothing_printed_shows_the_secret() -> None:
    token = make(IDS, founders=1)
    for shown in (repr(token), str(token), f"{[token]}"):
        assert token.text not in shown
        assert repr(token.secret) not in shown
        assert token.secret.hex() not in shown


def test_the_key_is_bound_to_cluster_and_token() -> None:
    token = make(IDS, founders=1)
    assert token.key == derive(token.cluster_id, token.token_id, token.secret)
    assert len({token.key, derive("c", token.token_id, token.secret), token.secret}) == 3


@pytest.mark.parametrize("founders", [0, 2, 4, 7, -1])
def test_no_new_cluster_has_another_number_of_founders(founders: int) -> None:
    with pytest.raises(BadRequest, match="1, 3 or 5"):
        make(IDS, founders=founders)


def wrong_character(text: str) -> str:
    at = len(PREFIX) + 50
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def test_a_bad_token_is_told_what_is_wrong_with_it_and_is_not_repeated() -> None:
    text = make(IDS, founders=1).text
    cases = {
        "": "is empty",
        "secret words": "one begins with",
        "hedgerow9.AAAA": "newer kind",
        text[:-5]: "not whole",
        text + "AAAA": "not whole",
        text[:30] + "ä" + text[31:]: "characters",
        wrong_character(text): "wrong character",
    }
    for bad, reason in cases.items():
        with pytest.raises(BadRequest, match=reason) as caught:
            parse(bad)
        assert len(bad) < 20 or bad[12:] not in str(caught.value)
    body = base64.urlsafe_b64decode(text.removeprefix(PREFIX) + "==")
    assert len(body) == 77


def test_a_token_file(tmp_path: Path) -> None:
    token = make(IDS, founders=5)
    (tmp_path / "token").write_text(token.text + "\n")
    assert read(tmp_path / "token") == token
    with pytest.raises(BadRequest, match="No such file"):
        read(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadRequest, match="bad: This is no token"):
        read(tmp_path / "bad")


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    made = Rows(tmp_path / "state.db")
    made.commit(insert(ClusterRow(id=CLUSTER, cluster_id=IDS.uuid())))
    return made


def new(rows: Rows, now: int = NOW, valid_days: float = 1) -> Token:
    ops, token = create(rows.db, now, IDS, valid_days=valid_days, note="")
    rows.commit(*ops)
    return token


def states(rows: Rows, now: int) -> dict[str, str]:
    return {row.id: view(row, now).state for row in rows.db.rows(JoinToken)}


def test_a_cluster_makes_tokens_that_only_join_and_does_not_keep_their_secret(rows: Rows) -> None:
    token = new(rows)
    assert parse(token.text).founders == JOIN_ONLY
    cluster = rows.db.get(ClusterRow, CLUSTER)
    assert cluster is not None
    assert token.cluster_id == cluster.cluster_id
    row = rows.db.get(JoinToken, token.token_id)
    assert row is not None
    assert row.key == token.key.hex()
    assert token.secret.hex() not in str(row)
    shown = str(view(row, NOW))
    assert row.key not in shown
    assert states(rows, NOW) == {token.token_id: "valid"}
    assert states(rows, NOW + DAY_US) == {token.token_id: "expired"}


def test_without_a_cluster_there_is_no_token_of_it(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="token new"):
        create(Rows(tmp_path / "s.db").db, NOW, IDS, valid_days=1, note="")


def test_revoked_is_at_once_and_twice_is_the_same(rows: Rows) -> None:
    token = new(rows)
    rows.commit(*revoke(rows.db, NOW, token.token_id[:8]))
    assert states(rows, NOW) == {token.token_id: "revoked"}
    assert revoke(rows.db, NOW, token.token_id) == []
    for missing in ("ffff-no", ""):
        with pytest.raises(NotFound):
            revoke(rows.db, NOW, missing)


def test_rotation_has_both_valid_for_a_while(rows: Rows) -> None:
    old = new(rows, valid_days=10)
    ops, token = rotate(rows.db, NOW, IDS, old.token_id, grace_days=1)
    rows.commit(*ops)
    assert states(rows, NOW) == {old.token_id: "valid", token.token_id: "valid"}
    assert states(rows, NOW + 2 * DAY_US) == {old.token_id: "expired", token.token_id: "valid"}
    ops, third = rotate(rows.db, NOW, IDS, token.token_id, grace_days=0)
    rows.commit(*ops)
    assert states(rows, NOW)[token.token_id] == "revoked"
    with pytest.raises(Conflict, match="revoked"):
        rotate(rows.db, NOW, IDS, token.token_id, grace_days=0)
    assert third.key != token.key


def test_tokens_are_bounded_and_ended_ones_are_forgotten(rows: Rows) -> None:
    for _ in range(MAX_TOKENS):
        new(rows)
    with pytest.raises(Conflict, match="revoke"):
        new(rows)
    later = NOW + (KEPT_DAYS + 2) * DAY_US
    kept = new(rows, later)
    assert set(states(rows, later)) == {kept.token_id}


def test_two_that_begin_alike_need_more_of_the_id(rows: Rows) -> None:
    for end in "ab":
        rows.commit(insert(JoinToken(id=f"1234{end}")))
    with pytest.raises(Conflict, match="give more"):
        revoke(rows.db, NOW, "1234")
