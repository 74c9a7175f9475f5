"""Consent: dated answers to the text that was shown, the newest one standing, and everybody else's left alone."""

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import DBAPIError

from control import appointments, consents
from control.consents import Answer, Purpose
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.models.consents import Consent
from control.models.outbox import OutboxRow
from control.session_events import ConsentChanged
from tests.helpers.practice import World


async def count(world: World) -> int:
    async with world.db.reading() as session:
        return int(await session.scalar(select(func.count()).select_from(Consent)) or 0)


async def test_answer_is_kept_with_version_and_time(world: World) -> None:
    view = await world.scheduled()
    given = await world.consent(world.bob, view.id, Purpose.CARE)
    assert (given.text_version, given.answered_at, given.answer) == (1, world.clock(), Answer.YES)
    assert await consents.standing(world.db, view.id) == (given,)


async def test_care_stands_for_later_sessions_with_the_same_practitioner(world: World) -> None:
    first = await world.scheduled()
    given = await world.consent(world.bob, first.id, Purpose.CARE)
    await world.consent(world.bob, first.id, Purpose.RECORDING)
    second = await world.scheduled(start=world.first_start.replace(hour=15))
    standing = await consents.standing(world.db, second.id)
    assert standing == (given,)


async def test_new_version_of_a_text_has_been_agreed_to_by_nobody(world: World) -> None:
    view = await world.scheduled()
    await world.consent(world.bob, view.id, Purpose.CARE)
    newer = await consents.publish_text(
        world.db, world.alice, Purpose.CARE, world.alice.person_id, title="New", body="New", now=world.clock()
    )
    assert newer.version == 2
    assert await consents.standing(world.db, view.id) == ()
    with pytest.raises(Conflict) as refused:
        await world.consent(world.bob, view.id, Purpose.CARE)
    assert (refused.value.code, refused.value.extra["text_id"]) == ("text_changed", newer.id)


async def test_same_words_are_no_new_version(world: World) -> None:
    async def publish(body: str) -> consents.Text:
        owner, now = world.alice.person_id, world.clock()
        return await consents.publish_text(world.db, world.alice, Purpose.CARE, owner, title="New", body=body, now=now)

    assert (await publish("New")).version == 2
    with pytest.raises(Invalid) as refused:
        await publish("New")
    assert refused.value.code == "text_unchanged"
    assert (await publish("Newer")).version == 3


async def test_same_answer_twice_is_one_receipt(world: World) -> None:
    view = await world.scheduled()
    first = await world.consent(world.bob, view.id, Purpose.RECORDING)
    world.clock.forward(minutes=1)
    assert await world.consent(world.bob, view.id, Purpose.RECORDING) == first
    assert await count(world) == 1


async def test_withdrawal_takes_a_yes_back_and_is_told_to_listeners(world: World) -> None:
    seen: list[object] = []
    world.db.subscribe(seen.extend)
    view = await world.started()
    yes = await world.consent(world.bob, view.id, Purpose.RECORDING)
    assert await world.agreed_to_recording(view.id) == {world.bob.person_id: yes}
    for _ in range(2):
        gone = await consents.withdraw(world.db, world.bob, view.id, Purpose.RECORDING, now=world.clock())
        assert gone.answer is Answer.WITHDRAWN
    assert await world.agreed_to_recording(view.id) == {}
    changes = [event.answer for event in seen if isinstance(event, ConsentChanged)]
    assert changes == ["yes", "withdrawn"]


async def test_withdrawing_what_was_never_given_is_refused(world: World) -> None:
    view = await world.scheduled()
    await world.consent(world.bob, view.id, Purpose.RECORDING, Answer.NO)
    with pytest.raises(Conflict) as refused:
        await consents.withdraw(world.db, world.bob, view.id, Purpose.RECORDING, now=world.clock())
    assert refused.value.code == "nothing_to_withdraw"


async def test_practitioner_answers_about_recording_too_but_not_about_care(world: World) -> None:
    view = await world.scheduled()
    given = await world.consent(world.alice, view.id, Purpose.RECORDING)
    assert given.person_id == world.alice.person_id
    with pytest.raises(Forbidden):
        await world.consent(world.alice, view.id, Purpose.CARE)


async def test_client_gets_a_receipt_for_each_answer_about_recording_by_e_mail(world: World) -> None:
    view = await world.scheduled()
    given = [
        await world.consent(world.bob, view.id, Purpose.RECORDING, Answer.NO),
        await world.consent(world.bob, view.id, Purpose.RECORDING, Answer.YES),
        await consents.withdraw(world.db, world.bob, view.id, Purpose.RECORDING, now=world.clock()),
    ]
    receipts = select(OutboxRow).where(OutboxRow.kind == "recording_consent_receipt")
    async with world.db.reading() as session:
        rows = list(await session.scalars(receipts))
    assert {row.channel for row in rows} == {"email"}
    told = {(row.facts["answer"], row.facts["version"], row.facts["consent_id"]) for row in rows}
    assert told == {(one.answer, 1, one.consent_id) for one in given}


async def test_stranger_and_admin_can_answer_nothing(world: World) -> None:
    view = await world.scheduled()
    for who in (world.charlie, world.erin, world.dana):
        for purpose in Purpose:
            with pytest.raises(NotFound):
                await world.consent(who, view.id, purpose)
            with pytest.raises(NotFound):
                await consents.withdraw(world.db, who, view.id, purpose, now=world.clock())
    assert await count(world) == 0


async def test_nothing_is_answered_before_paying_or_after_the_end(world: World) -> None:
    view = await world.book()
    with pytest.raises(Conflict) as refused:
        await world.consent(world.bob, view.id, Purpose.CARE)
    assert refused.value.code == "not_open"
    await appointments.cancel(world.db, world.bob, view.id, now=world.clock())
    with pytest.raises(Conflict):
        await world.consent(world.bob, view.id, Purpose.CARE)


async def test_text_of_another_purpose_or_practitioner_is_not_agreed_to(world: World) -> None:
    view = await world.scheduled()
    for text_id in (world.recording_text_id, "0" * 32):
        with pytest.raises(Conflict) as refused:
            await consents.answer(world.db, world.bob, view.id, Purpose.CARE, Answer.YES, text_id, now=world.clock())
        assert refused.value.code == "text_changed"
    with pytest.raises(Invalid):
        await consents.answer(
            world.db, world.bob, view.id, Purpose.CARE, Answer.NO, world.care_text_id, now=world.clock()
        )


async def test_only_the_owner_or_an_admin_writes_a_text(world: World) -> None:
    for who in (world.bob, world.erin):
        with pytest.raises(Forbidden):
            await consents.publish_text(
                world.db, who, Purpose.CARE, world.alice.person_id, title="x", body="x", now=world.clock()
            )


async def test_database_refuses_to_change_or_delete_an_answer(world: World) -> None:
    view = await world.scheduled()
    await world.consent(world.bob, view.id, Purpose.RECORDING, Answer.NO)
    for statement in (update(Consent).values(answer="yes"), delete(Consent)):
        with pytest.raises(DBAPIError):
            async with world.db.transaction() as session:
                await session.execute(statement)
    (given,) = await consents.standing(world.db, view.id)
    assert given.answer is Answer.NO
