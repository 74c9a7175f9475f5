"""Tokens: what was signed comes back, everything else is refused with its code."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.permissions import Refused, Role
from signaling.tokens import (
    JOIN_LIFETIME,
    JoinClaims,
    ResumeClaims,
    new_join_claims,
    sign_join,
    sign_resume,
    verify_join,
    verify_resume,
)

SECRET = bytes(range(32))
NOW = datetime(2026, 3, 3, 15, 56, tzinfo=UTC)


def token() -> str:
    return sign_join(SECRET, new_join_claims("a1", "mina", Role.client, NOW))


def code_of(bad: str, now: datetime = NOW, secret: bytes = SECRET) -> str:
    with pytest.raises(Refused) as refused:
        verify_join(secret, bad, now)
    return refused.value.code


def test_signed_claims_come_back() -> None:
    claims = new_join_claims("a1", "mina", Role.client, NOW)
    assert verify_join(SECRET, sign_join(SECRET, claims), NOW) == claims


def test_no_two_tokens_are_equal() -> None:
    assert token() != token()


def test_token_lives_five_minutes_and_not_a_second_more() -> None:
    signed = token()
    verify_join(SECRET, signed, NOW + JOIN_LIFETIME - timedelta(seconds=1))
    assert code_of(signed, NOW + JOIN_LIFETIME) == "token_expired"


def test_longer_life_cannot_be_asked_for() -> None:
    claims = new_join_claims("a1", "mina", Role.client, NOW, timedelta(days=1))
    assert claims.expires_at == int((NOW + JOIN_LIFETIME).timestamp())


def test_token_of_another_key_is_invalid() -> None:
    assert code_of(token(), secret=bytes(32)) == "token_invalid"


def test_resume_token_is_no_join_token_and_the_other_way_round() -> None:
    resume = sign_resume(SECRET, ResumeClaims("s", "a1", "mina", 1, int(NOW.timestamp()) + 60))
    assert code_of(resume) == "token_invalid"
    with pytest.raises(Refused):
        verify_resume(SECRET, token(), NOW)


def test_forged_expired_token_is_called_invalid_not_expired() -> None:
    old = sign_join(bytes(32), JoinClaims("a1", "mina", Role.client, 0, "x"))
    assert code_of(old) == "token_invalid"


@given(st.data())
def test_any_changed_character_makes_it_invalid(data: st.DataObject) -> None:
    good = token()
    at = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.characters().filter(lambda char: char != good[at]))
    assert code_of(good[:at] + other + good[at + 1 :]) == "token_invalid"


@given(st.text())
def test_any_text_is_invalid(text: str) -> None:
    assert code_of(text) == "token_invalid"


@given(st.integers(0, 200))
def test_cut_token_is_invalid(length: int) -> None:
    good = token()
    assert code_of(good[: min(length, len(good) - 1)]) == "token_invalid"
