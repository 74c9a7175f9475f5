"""The waiting room's and the room's pages: who sees which, where everybody else is sent, and what they carry."""

from datetime import timedelta

import pytest

from control import appointments
from control.consents import Answer, Purpose
from control.models.appointments import Appointment
from tests.helpers.practice import Site, World
from tests.web.conftest import Open


async def agree(world: World, appointment_id: str, recording: Answer | None = Answer.NO) -> None:
    await world.consent(world.bob, appointment_id, Purpose.CARE)
    if recording is not None:
        await world.consent(world.bob, appointment_id, Purpose.RECORDING, recording)


async def leads(open_page: Open, who: object, path: str) -> str:
    page = await open_page(who, path)  # type: ignore[arg-type]
    return page.headers["Location"] if page.status == 303 else str(page.status)


@pytest.mark.parametrize("page", ["waiting-room", "room"])
async def test_client_consents_before_they_wait(site: Site, open_page: Open, page: str) -> None:
    world = site.world
    view = await world.confirmed()
    here = f"/sessions/{view.id}"
    assert await leads(open_page, world.bob, f"{here}/{page}") == f"{here}/consent"
    await agree(world, view.id, recording=None)
    assert await leads(open_page, world.bob, f"{here}/{page}") == f"{here}/recording-consent"


@pytest.mark.parametrize("answer", [Answer.YES, Answer.NO])
async def test_either_answer_about_recording_opens_the_waiting_room(
    site: Site, open_page: Open, answer: Answer
) -> None:
    world = site.world
    view = await world.confirmed()
    await agree(world, view.id, answer)
    page = await open_page(world.bob, f"/sessions/{view.id}/waiting-room")
    assert page.status == 200
    assert page.inline == []
    assert page.all("section", id="wait")[0].attributes["data-session"] == view.id
    assert page.all("template", id="room-template")


async def test_early_client_is_told_when_it_opens(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.scheduled()
    await agree(world, view.id)
    page = await open_page(world.bob, f"/sessions/{view.id}/waiting-room")
    assert "The waiting room opens today, 14:55" in page.text  # Oslo
    opens = page.all("section", id="wait")[0].attributes["data-opens"]
    assert opens == (view.starts_at - timedelta(minutes=5)).isoformat()


async def test_client_goes_to_the_room_from_start_on_and_not_before(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.confirmed()
    await agree(world, view.id)
    here = f"/sessions/{view.id}"
    assert await leads(open_page, world.bob, f"{here}/room") == f"{here}/waiting-room"
    await appointments.start(world.db, world.alice, view.id, now=world.clock())
    assert await leads(open_page, world.bob, f"{here}/waiting-room") == f"{here}/room"
    page = await open_page(world.bob, f"{here}/room")
    assert page.status == 200
    assert page.inline == []
    assert page.all("button", id="leave")
    assert not page.all("button", id="end"), "ending is the practitioner's"
    assert not page.all("button", id="record")


async def test_practitioner_goes_straight_to_the_room(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.confirmed()
    here = f"/sessions/{view.id}"
    assert await leads(open_page, world.alice, f"{here}/waiting-room") == f"{here}/room"
    page = await open_page(world.alice, f"{here}/room")
    assert page.status == 200
    assert page.all("div", id="room")[0].attributes["data-role"] == "practitioner"
    assert page.all("button", id="start")
    assert page.all("button", id="end")
    assert not page.all("dialog", id="answer-dialog")


async def test_practitioner_who_is_early_sees_the_session_s_page(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.scheduled()
    assert await leads(open_page, world.alice, f"/sessions/{view.id}/room") == f"/sessions/{view.id}"


@pytest.mark.parametrize("page", ["waiting-room", "room"])
async def test_strangers_find_nothing(site: Site, open_page: Open, page: str) -> None:
    world = site.world
    view = await world.started()
    path = f"/sessions/{view.id}/{page}"
    for who in (world.charlie, world.dana, world.erin):
        assert await leads(open_page, who, path) == "404"
    assert (await leads(open_page, None, path)).startswith("/sign-in?next=")
    assert await leads(open_page, world.bob, f"/sessions/{'0' * 32}/{page}") == "404"
    assert await leads(open_page, world.bob, f"/sessions/nonsense/{page}") == "404"


async def test_ended_session_leads_to_the_page_that_tells_of_it(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.started()
    async with world.db.transaction() as session:
        row = await session.get_one(Appointment, view.id)
        row.client_admitted_at = row.practitioner_admitted_at = world.clock()
    await appointments.complete(world.db, world.alice, view.id, now=world.clock.forward(minutes=50))
    for page in ("waiting-room", "room"):
        here = f"/sessions/{view.id}"
        assert await leads(open_page, world.bob, f"{here}/{page}") == f"{here}/afterwards"
        assert await leads(open_page, world.alice, f"{here}/{page}") == here


async def test_missed_session_leads_its_client_to_the_apology(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.confirmed()
    world.clock.forward(minutes=30)
    here = f"/sessions/{view.id}"
    assert await leads(open_page, world.bob, f"{here}/waiting-room") == f"{here}/missed"
    assert await leads(open_page, world.alice, f"{here}/room") == here
