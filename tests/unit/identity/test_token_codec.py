"""Tokens as bytes: what goes in comes out, and nothing else opens."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.plugins.identity.token_codec import METHODS, Claims, TokenCodec, audit_id, new_key

HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
IDENT = HEX | st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=64)
MAYBE = IDENT | st.just("")
CLAIMS = st.builds(
    Claims,
    user_id=IDENT,
    methods=st.sets(st.sampled_from(METHODS), min_size=1).map(
        lambda chosen: tuple(name for name in METHODS if name in chosen)
    ),
    scope=st.sampled_from(["", "project", "domain", "system"]),
    scope_id=MAYBE,
    issued_at=st.integers(0, 2**62),
    expires_at=st.integers(0, 2**62),
    audit_ids=st.lists(HEX.map(audit_id), min_size=1, max_size=2).map(tuple),
    application_credential_id=MAYBE,
    trust_id=MAYBE,
)


@given(CLAIMS)
def test_what_is_sealed_opens(claims: Claims) -> None:
    codec = TokenCodec([new_key()])
    token = codec.seal(claims, 1_700_000_000)
    assert codec.open(token) == claims
    assert "=" not in token


@given(CLAIMS)
def test_old_keys_open_and_strangers_do_not(claims: Claims) -> None:
    old, new = new_key(), new_key()
    token = TokenCodec([old]).seal(claims, 1_700_000_000)
    assert TokenCodec([new, old]).open(token) == claims
    assert TokenCodec([new]).open(token) is None


@given(st.text(max_size=300))
def test_no_text_makes_it_fail(text: str) -> None:
    assert TokenCodec([new_key()]).open(text) is None


def test_a_token_is_short() -> None:
    claims = Claims(
        user_id="a" * 32,
        methods=("password",),
        scope="project",
        scope_id="b" * 32,
        issued_at=1_700_000_000_000_000,
        expires_at=1_700_003_600_000_000,
        audit_ids=(audit_id("c" * 32),),
    )
    assert len(TokenCodec([new_key()]).seal(claims, 1_700_000_000)) <= 200


@pytest.mark.parametrize("cut", [1, 10, 50])
def test_a_cut_token_does_not_open(cut: int) -> None:
    codec = TokenCodec([new_key()])
    claims = Claims(
        user_id="u", methods=("token",), issued_at=1, expires_at=2, audit_ids=(audit_id("0" * 32),)
    )
    assert codec.open(codec.seal(claims, 1)[:-cut]) is None
