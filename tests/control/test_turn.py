"""Credentials for the relay: the form that coturn checks, their end, and that nobody else's are given."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from control import turn
from control.config import TurnSettings

NOW = datetime(2026, 3, 3, 15, 56, tzinfo=UTC)
RELAY = TurnSettings.model_validate(
    {"urls": ("turn:relay.example.org:3478",), "secret": "shared", "lifetime_minutes": 60}
)


def test_password_is_the_mac_of_expiry_and_person_under_the_shared_secret() -> None:
    (server,) = turn.ice_servers(RELAY, "person1", NOW)
    expiry, _, person = server["username"].partition(":")
    assert (int(expiry), person) == (int(NOW.timestamp()) + 3600, "person1")
    mac = hmac.new(b"shared", server["username"].encode(), hashlib.sha1).digest()
    assert base64.b64decode(server["credential"]) == mac
    assert server["urls"] == ["turn:relay.example.org:3478"]


def test_without_a_relay_nobody_is_given_credentials() -> None:
    assert turn.ice_servers(TurnSettings(), "person1", NOW) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"urls": ("turn:relay.example.org",)},
        {"secret": "shared"},
        {"urls": ("stun:relay.example.org",), "secret": "shared"},
        {"urls": ("turn:user@relay.example.org",), "secret": "shared"},
        {"urls": ("turn:relay.example.org?transport=sctp",), "secret": "shared"},
    ],
)
def test_half_or_misspelt_relay_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TurnSettings.model_validate(wrong)
