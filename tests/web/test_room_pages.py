"""The waiting room's and the room's pages: who sees which, where everybody else is sent, and what they carry."""

from datetime import timedelta

import pytest

from control import accounts, appointments, guests, room_control
from control.consents import Answer, Purpose
from control.files import Wanted
from control.keys import FILES
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
    assert "hidden" in page.all("p", id="next-running")[0].attributes
    assert "hidden" not in page.all("p", id="next-early")[0].attributes
    opens = page.all("section", id="wait")[0].attributes["data-opens"]
    assert opens == (view.starts_at - timedelta(minutes=5)).isoformat()
    async with world.db.transaction() as session:
        (await session.get_one(Appointment, view.id)).opens_before_s = 600  # as it was agreed at the booking
    page = await open_page(world.bob, f"/sessions/{view.id}/waiting-room")
    assert "The waiting room opens today, 14:50" in page.text


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


async def test_what_was_written_is_read_by_its_people_and_nobody_else(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.started()
    hand = await site.hand_of(world.bob)
    await hand.post(f"/api/appointments/{view.id}/chat", {"text": "<i>see</i> https://example.org"})
    page = await open_page(world.alice, f"/sessions/{view.id}/chat")
    assert page.status == 200
    assert page.inline == []
    assert "&lt;i&gt;see&lt;/i&gt;" in page.html
    assert page.all("a", href="https://example.org")[0].attributes["rel"] == "noopener noreferrer"
    for who, status in ((world.charlie, 404), (world.dana, 403)):
        assert (await open_page(who, f"/sessions/{view.id}/chat")).status == status


async def test_client_who_was_sent_out_waits_and_a_guest_finds_the_same_doors(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.started()
    here = f"/sessions/{view.id}"
    await agree(world, view.id)
    assert await leads(open_page, world.bob, f"{here}/waiting-room") == f"{here}/room"
    await room_control.send_out(world.db, world.alice, view.id, world.bob.person_id, now=world.clock())
    assert await leads(open_page, world.bob, f"{here}/room") == f"{here}/waiting-room"
    assert (await open_page(world.bob, f"{here}/waiting-room")).status == 200
    guest = await guests.invite(world.db, world.alice, view.id, email="g@example.org", name="Gwen", now=world.clock())
    gwen = await accounts.actor_of(world.db, guest.person_id)
    assert gwen is not None
    assert await leads(open_page, gwen, f"{here}/waiting-room") == f"{here}/consent"
    assert (await open_page(gwen, f"{here}/consent")).status == 200
    for purpose in Purpose:
        await world.consent(gwen, view.id, purpose)
    assert (await open_page(gwen, f"{here}/waiting-room")).status == 200
    await room_control.let_in(world.db, world.alice, view.id, gwen.person_id, now=world.clock())
    assert (await open_page(gwen, f"{here}/room")).status == 200


async def test_problem_reports_are_shown_to_the_concerned_only(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.started()
    bob = await site.hand_of(world.bob)
    made = {}
    for kind in ("technical", "unsafe", "urgent"):
        body = {"kind": kind, "text": "<b>words</b>", "country": "JP"}
        made[kind] = (await bob.post(f"/api/appointments/{view.id}/problems", body))[1]["id"]
    for who, seen in (
        (world.dana, [200, 200, 200]),
        (world.alice, [200, 404, 200]),
        (world.bob, [404, 404, 404]),
        (world.charlie, [404, 404, 404]),
    ):
        pages = [await open_page(who, f"/problems/{one}") for one in made.values()]
        assert [page.status for page in pages] == seen
        assert all(page.inline == [] for page in pages)
    page = await open_page(world.dana, f"/problems/{made['urgent']}")
    assert "&lt;b&gt;words" in page.html
    assert "Ambulance, fire brigade 119" in page.text
    assert (await open_page(world.dana, "/admin/problems")).text.count("Nobody has taken it yet") == 3
    for who, status in ((world.alice, 403), (world.bob, 403)):
        assert (await open_page(who, "/admin/problems")).status == status


async def test_waiting_room_asks_for_the_country_and_shows_its_numbers(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.confirmed()
    await agree(world, view.id)
    bob = await site.hand_of(world.bob)
    await bob.post(f"/api/appointments/{view.id}/country", {"country": "JP"})
    page = await open_page(world.bob, f"/sessions/{view.id}/waiting-room")
    assert page.all("a", href="tel:119")
    assert [o.attributes["value"] for o in page.all("option") if "selected" in o.attributes][:1] == ["JP"]
    assert "emergency" not in page.html.lower()


async def test_account_lists_the_files_of_ones_sessions(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.started()
    files, text = site.app[FILES], b"<b>words</b>"
    begun = await files.begin(
        world.bob, view.id, Wanted("<i>notes</i>.txt", len(text), None), key="1", now=world.clock()
    )
    await files.add_chunk(world.bob, begun.id, 0, text, now=world.clock())
    for who, shown in ((world.bob, 1), (world.alice, 1), (world.charlie, 0)):
        page = await open_page(who, "/files")
        assert (page.status, page.inline) == (200, [])
        assert len(page.all("a", href=f"/api/files/{begun.id}/content")) == shown
        assert "<i>notes" not in page.html
    assert (await open_page(None, "/files")).headers["Location"].startswith("/sign-in")


async def test_missed_session_is_told_of_on_its_own_page(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.started()
    now = world.clock.forward(minutes=16)
    await appointments.complete(world.db, world.alice, view.id, is_no_show=True, now=now)
    assert await leads(open_page, world.bob, f"/sessions/{view.id}/afterwards") == f"/sessions/{view.id}"
