"""Testimonials: left after a session, shown once approved, replied to once, never edited; reminders that end."""

import asyncio
from datetime import timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import delete, select

from control import people, testimonials
from control.config import NoticeSettings
from control.errors import Conflict, Forbidden, NotFound
from control.models.outbox import OutboxRow
from control.models.testimonials import TestimonialInvitation as Invitation
from control.notices.kinds import NoticeKind
from control.people import Changes
from tests.helpers.books import take_place
from tests.helpers.practice import Site, World


async def completed(world: World) -> str:
    return (await take_place(world, await world.scheduled())).id


async def left(world: World, text: str = "She listened.") -> testimonials.TestimonialView:
    return await testimonials.leave(world.db, world.bob, await completed(world), text, now=world.clock())


async def reminders(world: World) -> int:
    async with world.db.reading() as session:
        rows = await session.scalars(select(OutboxRow).where(OutboxRow.kind == NoticeKind.TESTIMONIAL_REMINDER))
        return len(rows.all())


async def remind(world: World, *after: int) -> int:
    return await testimonials.remind(world.db, [timedelta(days=n) for n in after or (3, 10)], world.clock())


async def days(world: World, count: int, *after: int) -> None:
    for _ in range(count):
        world.clock.forward(days=1)
        await remind(world, *after)


async def test_words_are_public_only_once_an_admin_has_approved_them(world: World) -> None:
    one = await left(world)
    alice = world.alice.person_id
    assert await testimonials.of_practitioner(world.db, alice) == ()
    for who in (world.alice, world.bob, world.charlie):
        with pytest.raises(Forbidden):
            await testimonials.decide(world.db, who, one.id, approve=True, now=world.clock())
    await testimonials.decide(world.db, world.dana, one.id, approve=True, now=world.clock())
    [shown] = await testimonials.of_practitioner(world.db, alice)
    assert (shown.author_name, shown.text) == ("Bob", "She listened.")
    await testimonials.decide(world.db, world.dana, one.id, approve=False, now=world.clock())
    assert await testimonials.of_practitioner(world.db, alice) == ()


async def test_of_many_left_at_once_one_stays(world: World) -> None:
    done = await completed(world)
    tries = (testimonials.leave(world.db, world.bob, done, f"Words {n}", now=world.clock()) for n in range(5))
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, testimonials.TestimonialView) for one in answers) == 1
    assert sum(isinstance(one, Conflict) for one in answers) == 4


async def test_one_is_left_after_a_completed_session_and_never_edited(world: World) -> None:
    ahead = await world.scheduled()
    with pytest.raises(Conflict, match="not_completed"):
        await testimonials.leave(world.db, world.bob, ahead.id, "Early", now=world.clock())
    done = (await take_place(world, ahead)).id
    with pytest.raises(NotFound):
        await testimonials.leave(world.db, world.charlie, done, "Not mine", now=world.clock())
    with pytest.raises(Forbidden):
        await testimonials.leave(world.db, world.alice, done, "About myself", now=world.clock())
    first = await testimonials.leave(world.db, world.bob, done, "She listened.", now=world.clock())
    assert (await testimonials.leave(world.db, world.bob, done, "She listened.", now=world.clock())).id == first.id
    with pytest.raises(Conflict, match="left_already"):
        await testimonials.leave(world.db, world.bob, done, "Other words", now=world.clock())
    with pytest.raises(NotFound):
        await testimonials.take_back(world.db, world.charlie, first.id, now=world.clock())
    await testimonials.take_back(world.db, world.bob, first.id, now=world.clock())
    assert (await testimonials.leave(world.db, world.bob, done, "Other words", now=world.clock())).state == "waiting"


async def test_practitioner_replies_once_and_only_to_their_own(world: World) -> None:
    one = await left(world)
    with pytest.raises(NotFound):
        await testimonials.reply(world.db, world.alice, one.id, "Too early", now=world.clock())
    await testimonials.decide(world.db, world.dana, one.id, approve=True, now=world.clock())
    with pytest.raises(NotFound):
        await testimonials.reply(world.db, world.erin, one.id, "Not hers", now=world.clock())
    for _ in range(2):
        replied = await testimonials.reply(world.db, world.alice, one.id, "Thank you", now=world.clock())
        assert replied.reply == "Thank you"
    with pytest.raises(Conflict, match="replied_already"):
        await testimonials.reply(world.db, world.alice, one.id, "Second thoughts", now=world.clock())


async def test_reminders_go_after_three_and_ten_days_and_then_end(world: World) -> None:
    await completed(world)
    sent = []
    await remind(world)
    for _ in range(14):
        await days(world, 1)
        sent.append(await reminders(world))
    assert sent == [0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]


async def test_days_of_the_reminders_are_the_practices_setting(world: World) -> None:
    done = await completed(world)
    await remind(world, 1, 2, 5)
    await days(world, 6, 1, 2, 5)
    assert await reminders(world) == 3
    assert await testimonials.remind(world.db, (), world.clock()) == 0
    await testimonials.decline(world.db, world.bob, done, now=world.clock())
    assert NoticeSettings().testimonials == (timedelta(days=3), timedelta(days=10))
    assert NoticeSettings(testimonial_days=()).testimonials == ()
    for wrong in ((10, 3), (3, 3), (0,), (61,)):
        with pytest.raises(ValidationError):
            NoticeSettings(testimonial_days=wrong)


async def test_declining_while_the_scheduler_invites_declines(world: World) -> None:
    done = await completed(world)
    for _ in range(10):
        async with world.db.transaction() as session:
            await session.execute(delete(Invitation))
        declining = (testimonials.decline(world.db, world.bob, done, now=world.clock()) for _ in range(2))
        await asyncio.gather(remind(world), *declining, remind(world))
        assert (await testimonials.mine(world.db, world.bob, world.alice.person_id)).declined
    await days(world, 12)
    assert await reminders(world) == 0


@pytest.mark.parametrize("how", ["answered", "declined", "switched off"])
async def test_no_reminder_follows_an_answer(world: World, how: str) -> None:
    done = await completed(world)
    await remind(world)
    if how == "answered":
        await testimonials.leave(world.db, world.bob, done, "She listened.", now=world.clock())
    elif how == "declined":
        await testimonials.decline(world.db, world.bob, done, now=world.clock())
        assert (await testimonials.mine(world.db, world.bob, world.alice.person_id)).declined
    else:
        await people.change(world.db, world.bob.person_id, Changes(wants_testimonial_reminders=False))
    await days(world, 12)
    assert await reminders(world) == 0


async def test_every_handler_refuses_who_may_not(site: Site) -> None:
    world = site.world
    done = await completed(world)
    bob, alice, dana = [await site.hand_of(who) for who in (world.bob, world.alice, world.dana)]
    status, one = await bob.post(f"/api/appointments/{done}/testimonial", {"text": "She listened."})
    assert (status, one["state"]) == (201, "waiting")
    path = f"/api/testimonials/{one['id']}"
    for who, wanted in ((world.bob, 403), (world.alice, 403), (world.charlie, 403), (None, 401)):
        assert (await (await site.hand_of(who)).post(f"{path}/decision", {"approve": True}))[0] == wanted
    assert (await dana.post(f"{path}/decision", {"approve": True}))[1]["state"] == "approved"
    assert (await alice.post(f"{path}/reply", {"text": "Thank you"}))[1]["reply"] == "Thank you"
    nobody = await site.hand_of(None)
    profile = await nobody.browser.get(f"/practitioners/{world.alice.person_id}")
    assert "She listened." in profile.text
    assert "Thank you" in profile.text
    for text in ("", "x" * 1_001):
        assert (await bob.post(f"/api/appointments/{done}/testimonial", {"text": text}))[0] == 422
    world.clock.forward(minutes=1)
    assert (await bob.delete(path))[0] == 204
    assert "She listened." not in (await nobody.browser.get(f"/practitioners/{world.alice.person_id}")).text
