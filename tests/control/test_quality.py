"""What is kept of a session's connections: rows by the minute, a summary for those concerned, nothing for strangers."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from control import quality
from control.accounts import Actor
from control.errors import NotFound
from control.keys import QUALITY
from control.models.quality import SessionQuality
from control.waiting_room import room_of
from media.quality import Word
from media.types import ParticipantId, Quality
from signaling.events import Left, Measured
from signaling.permissions import Admission, Place, Role
from tests.helpers.practice import Site

LINE = Quality(loss_in=0.0, loss_out=0.02, jitter_ms=3.0, round_trip_ms=40.0, mos=4.2)


def admission(appointment_id: str, person: Actor, role: Role) -> Admission:
    return Admission(
        appointment_id=appointment_id,
        room=room_of(appointment_id),
        person_id=person.person_id,
        participant=ParticipantId(person.person_id),
        role=role,
        display_name="",
        place=Place.admitted,
        may_publish=frozenset(),
    )


async def rows(site: Site) -> list[SessionQuality]:
    async with site.app[QUALITY]._db.reading() as session:
        return list(await session.scalars(select(SessionQuality).order_by(SessionQuality.from_at)))


async def settle(site: Site) -> None:
    await site.app[QUALITY].close()


async def test_a_minute_of_measurements_is_one_row_and_leaving_writes_the_rest(site: Site) -> None:
    world, log = site.world, site.app[QUALITY]
    view = await world.started()
    bob = admission(view.id, world.bob, Role.client)
    for number in range(15):
        loss = 0.1 if number == 0 else 0.0
        line = replace(LINE, loss_in=loss, mos=3.0 if loss else 4.2)
        log._on_hub(Measured(bob, line, Word.good, freezes=number % 2, frozen_ms=100 * (number % 2)))
        world.clock.forward(seconds=5)
    log._on_hub(Left(bob, "left"))
    await settle(site)
    first, rest = await rows(site)
    assert (first.samples, rest.samples) == (13, 2)
    assert (first.until_at - first.from_at).total_seconds() == 60
    assert first.loss_in == pytest.approx(0.1 / 13)
    assert (first.worst_mos, first.round_trip_ms, first.freezes, first.frozen_ms) == (3.0, 40.0, 6, 600)


async def test_people_of_the_session_and_admins_read_its_summary_and_strangers_do_not(site: Site) -> None:
    world, log = site.world, site.app[QUALITY]
    view = await world.started()
    for person, role, mos in ((world.alice, Role.practitioner, 4.3), (world.bob, Role.client, 3.5)):
        for round_trip_ms in (None, 30.0):
            line = replace(LINE, mos=mos, round_trip_ms=round_trip_ms)
            log._on_hub(Measured(admission(view.id, person, role), line, Word.good, freezes=1, frozen_ms=50))
    await settle(site)
    for reader in (world.alice, world.bob, world.dana):
        alice, bob = await quality.of_session(world.db, reader, view.id)
        assert (alice.name, alice.word, alice.freezes) == ("Alice Owner", Word.good, 2)
        assert (bob.word, bob.mos, bob.loss, bob.round_trip_ms) == (Word.fair, 3.5, 0.02, 30.0)
    with pytest.raises(NotFound):
        await quality.of_session(world.db, world.charlie, view.id)


async def test_a_session_nobody_measured_has_no_summary(site: Site) -> None:
    view = await site.world.confirmed()
    assert await quality.of_session(site.world.db, site.world.alice, view.id) == ()


async def test_what_cannot_be_stored_is_let_go(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    world, log = site.world, site.app[QUALITY]
    log._on_hub(Measured(admission("0" * 32, world.bob, Role.client), LINE, Word.good, 0, 0))
    await settle(site)
    assert "session quality not stored" in caplog.text
    assert await rows(site) == []


async def test_practitioner_reads_the_connection_on_the_session_s_page_and_the_client_does_not(site: Site) -> None:
    world, log = site.world, site.app[QUALITY]
    view = await world.started()
    log._on_hub(Measured(admission(view.id, world.bob, Role.client), LINE, Word.good, freezes=2, frozen_ms=1_500))
    await settle(site)
    for reader, sees in ((world.alice, True), (world.bob, False)):
        hand = await site.hand_of(reader)
        page = (await hand.browser.get(f"/sessions/{view.id}")).text
        assert ("Bob Client: poor" in page) is sees
        assert ("the picture stood still 2 times, 1.5 s in all" in page) is sees
