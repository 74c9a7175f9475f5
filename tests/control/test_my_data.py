"""One's own data: every answer with what stands of it, and who else has read or watched what is one's own."""

from control import consents, desk, my_data
from control.consents import Answer, Purpose
from tests.control.test_messages import RULES, write
from tests.helpers.practice import World


async def test_consents_are_listed_and_only_what_stands_can_be_taken_back(world: World) -> None:
    view = await world.scheduled()
    await world.consent(world.bob, view.id, Purpose.CARE)
    world.clock.forward(minutes=1)
    await world.consent(world.bob, view.id, Purpose.RECORDING, Answer.NO)
    world.clock.forward(minutes=1)
    await world.consent(world.bob, view.id, Purpose.RECORDING)
    lines = await my_data.consent_lines(world.db, world.bob)
    assert [(one.purpose, one.answer, one.stands) for one in lines] == [
        (Purpose.RECORDING, Answer.YES, True),
        (Purpose.RECORDING, Answer.NO, False),
        (Purpose.CARE, Answer.YES, True),
    ]
    await consents.withdraw(world.db, world.bob, view.id, Purpose.RECORDING, now=world.clock())
    lines = await my_data.consent_lines(world.db, world.bob)
    assert [(one.answer, one.stands) for one in lines[:2]] == [(Answer.WITHDRAWN, False), (Answer.YES, False)]
    for who in (world.alice, world.charlie):
        assert await my_data.consent_lines(world.db, who) == ()


async def test_staffs_reads_are_shown_to_both_people_and_to_nobody_else(world: World) -> None:
    conversation_id = (await write(world, world.bob, world.alice)).conversation_id
    await write(world, world.charlie, world.erin)
    await desk.read_as_staff(world.db, RULES, world.dana, conversation_id, now=world.clock())
    for who in (world.bob, world.alice):
        [look] = await my_data.staff_looks(world.db, who)
        assert (look.name, look.at) == ("Dana Admin", world.clock())
    for who in (world.charlie, world.erin, world.dana):
        assert await my_data.staff_looks(world.db, who) == ()
