"""The session's state machine: every (state, turn) pair, numbering, and which resume token is good."""

import json
from datetime import UTC, datetime
from itertools import product

import pytest

from media.types import ParticipantId, RoomId
from signaling import messages as say
from signaling.outbox import Closing, Outbox
from signaling.permissions import Admission, Place, Refused, Role
from signaling.session import MAX_KEPT_BYTES, NEXT_LINK, Link, Session, Turn

ADMISSION = Admission(
    "a1", RoomId("session_a1"), "mina", ParticipantId("mina"), Role.client, "Mina", Place.waiting, frozenset()
)


def make(outbox: Outbox | None = None) -> Session:
    return Session("s1", ADMISSION, datetime(2026, 3, 3, tzinfo=UTC), outbox or Outbox())


def waiting_in(outbox: Outbox) -> list[dict[str, object]]:
    return [json.loads(text) for text in outbox._waiting]


@pytest.mark.parametrize(("link", "turn"), list(product(Link, Turn)))
async def test_every_turn_in_every_state_is_decided(link: Link, turn: Turn) -> None:
    session = make()
    session.link = link
    after = NEXT_LINK.get((link, turn))
    assert session.turn(turn) is (after is not None)
    assert session.link is (after or link)
    assert (after is None) is (link is Link.gone and turn is Turn.resumed)


async def test_numbers_run_without_gaps_over_a_drop() -> None:
    outbox = Outbox()
    session = make(outbox)
    session.post(say.Admitted())
    session.turn(Turn.socket_lost)
    session.outbox = None
    session.post(say.Waiting())
    fresh = Outbox()
    session.next_generation(0.0, in_numbered=False)
    assert [json.loads(text)["n"] for text in session.resume(1, 1, fresh)] == [2]
    session.post(say.Admitted())
    assert [message["n"] for message in waiting_in(fresh)] == [3]


async def test_unnumbered_message_is_not_kept() -> None:
    session = make()
    session.turn(Turn.socket_lost)
    session.outbox = None
    session.post(say.Speaking(("mina",)))
    session.next_generation(0.0, in_numbered=False)
    assert session.resume(1, 0, Outbox()) == []


async def test_gone_session_says_nothing() -> None:
    outbox = Outbox()
    session = make(outbox)
    session.turn(Turn.left)
    session.post(say.Admitted())
    assert waiting_in(outbox) == []


async def test_memory_kept_for_a_resume_is_bounded_by_bytes() -> None:
    session = make()
    for revision in range(40):
        session.post(say.AnswerMessage(revision, "x" * 50_000))
    assert session._kept_bytes <= MAX_KEPT_BYTES
    session.next_generation(0.0, in_numbered=False)
    with pytest.raises(Refused, match="resume_lost"):
        session.resume(1, 0, Outbox())


async def test_token_before_last_is_never_good() -> None:
    session = make()
    for _ in range(3):
        session.next_generation(0.0, in_numbered=False)
    with pytest.raises(Refused, match="resume_unknown"):
        session.resume(1, 0, Outbox())
    session.resume(2, 0, Outbox())


async def test_token_before_is_good_until_the_new_one_is_confirmed() -> None:
    session = make()
    session.next_generation(0.0, in_numbered=False)
    session.heard()
    generation = session.next_generation(0.0, in_numbered=True)
    session.post(say.ResumeToken("…"))
    session.resume(generation - 1, 0, Outbox())
    session.acknowledge(1)
    with pytest.raises(Refused, match="resume_unknown"):
        session.resume(generation - 1, 1, Outbox())


async def test_first_word_on_closing_counts() -> None:
    outbox = Outbox()
    outbox.push("text")
    outbox.close(Closing(4409, "replaced"))
    outbox.close(Closing(1000, ""))
    outbox.push("never")
    assert await outbox.next() == "text"
    assert await outbox.next() == Closing(4409, "replaced")
