"""A telephone number counts only once a code sent to it was typed in: wrong, old, repeated and too many codes."""

import re
from datetime import timedelta

from sqlalchemy import select

from control.database import Database
from control.models.factors import PhoneProof
from control.models.outbox import OutboxChannel, OutboxRow
from control.phones import CODE_LIFETIME, MOST_TRIES
from tests.helpers.practice import Hand, Site

NUMBER = "+351912345678"


async def _codes(db: Database) -> list[str]:
    """Of every SMS, in the order they were asked for, whether it has been written already or not."""
    async with db.reading() as session:
        rows = await session.scalars(
            select(OutboxRow).where(OutboxRow.channel == OutboxChannel.SMS).order_by(OutboxRow.created_at)
        )
        said = [str(row.secrets or row.body_text) for row in rows if row.kind == "phone_code"]
    return [re.findall(r"\b[0-9]{6}\b", text)[0] for text in said]


def _other(code: str) -> str:
    return "111111" if code == "000000" else "000000"


async def _phone(hand: Hand) -> tuple[str | None, bool]:
    _, body = await hand.get("/api/account")
    return body["phone"], body["phone_proven"]


async def test_a_number_is_there_only_after_its_code(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    assert await bob.post("/api/account/phone", {"phone": "00351 912-345.678"}) == (202, {"phone": NUMBER})
    assert await _phone(bob) == (None, False)
    (code,) = await _codes(site.world.db)
    status, body = await bob.post("/api/account/phone/confirm", {"code": f"{code[:3]} {code[3:]}"})
    assert (status, body["phone"], body["phone_proven"]) == (200, NUMBER, True)
    status, body = await bob.post("/api/account/phone/confirm", {"code": code})
    assert (status, body["code"]) == (409, "code_over")
    assert await _phone(bob) == (NUMBER, True)


async def test_the_code_is_stored_as_a_hash_only(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    await bob.post("/api/account/phone", {"phone": NUMBER})
    (code,) = await _codes(site.world.db)
    async with site.world.db.reading() as session:
        proof = await session.get_one(PhoneProof, site.world.bob.person_id)
    assert code not in proof.code_hash


async def test_the_earlier_number_stays_until_the_new_one_is_proven(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    await bob.post("/api/account/phone", {"phone": NUMBER})
    await bob.post("/api/account/phone/confirm", {"code": (await _codes(site.world.db))[0]})
    site.world.clock.forward(minutes=1)
    await bob.post("/api/account/phone", {"phone": "+4791234567"})
    code = (await _codes(site.world.db))[1]
    assert (await bob.post("/api/account/phone/confirm", {"code": _other(code)}))[1]["code"] == "code_wrong"
    assert await _phone(bob) == (NUMBER, True)
    await bob.post("/api/account/phone/confirm", {"code": code})
    assert await _phone(bob) == ("+4791234567", True)
    assert await bob.delete("/api/account/phone") == (204, None)
    assert await bob.delete("/api/account/phone") == (204, None)
    assert await _phone(bob) == (None, False)


async def test_after_five_wrong_codes_the_right_one_is_too_late(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    await bob.post("/api/account/phone", {"phone": NUMBER})
    (code,) = await _codes(site.world.db)
    for _ in range(MOST_TRIES):
        status, body = await bob.post("/api/account/phone/confirm", {"code": _other(code)})
        assert (status, body["code"]) == (422, "code_wrong")
    status, body = await bob.post("/api/account/phone/confirm", {"code": code})
    assert (status, body["code"]) == (409, "code_over")
    assert await _phone(bob) == (None, False)


async def test_a_code_is_good_for_ten_minutes_and_until_the_next_one(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    await bob.post("/api/account/phone", {"phone": NUMBER})
    site.world.clock.forward(seconds=1)
    await bob.post("/api/account/phone", {"phone": NUMBER})
    first, second = await _codes(site.world.db)
    if first != second:
        assert (await bob.post("/api/account/phone/confirm", {"code": first}))[0] == 422
    site.world.clock.now += CODE_LIFETIME
    assert (await bob.post("/api/account/phone/confirm", {"code": second}))[1]["code"] == "code_over"


async def test_somebody_elses_code_proves_nothing(site: Site) -> None:
    bob, charlie = await site.hand_of(site.world.bob), await site.hand_of(site.world.charlie)
    await bob.post("/api/account/phone", {"phone": NUMBER})
    (code,) = await _codes(site.world.db)
    assert (await charlie.post("/api/account/phone/confirm", {"code": code}))[1]["code"] == "code_over"
    assert (await bob.post("/api/account/phone/confirm", {"code": code}))[0] == 200


async def test_a_stranger_has_no_number(site: Site) -> None:
    nobody = await site.hand_of(None)
    assert (await nobody.post("/api/account/phone", {"phone": NUMBER}))[0] == 401
    assert (await nobody.post("/api/account/phone/confirm", {"code": "000000"}))[0] == 401
    assert (await nobody.delete("/api/account/phone"))[0] == 401
    assert await _codes(site.world.db) == []


async def test_what_can_not_be_called_is_refused_and_costs_no_sms(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    for number in ("912345678", "+0123456789", "+35191234567890123", "+351 9123 letters", "12345", "+351‮912345678"):
        status, body = await bob.post("/api/account/phone", {"phone": number})
        assert (status, body["code"]) == (422, "phone_invalid"), number
    assert await _codes(site.world.db) == []


async def test_an_hour_has_five_codes(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    sent = [(await bob.post("/api/account/phone", {"phone": NUMBER}))[0] for _ in range(6)]
    assert sent == [202] * 5 + [429]
    assert len(await _codes(site.world.db)) == 5
    site.world.clock.now += timedelta(hours=1)
    assert (await bob.post("/api/account/phone", {"phone": NUMBER}))[0] == 202
