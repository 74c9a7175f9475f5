"""One session's page and what it leads to: guests, moving it, no-show, rating by either side, booking again."""

from datetime import timedelta

import pytest

from control import accounts, appointments, guests, ratings, reschedules
from control.accounts import Actor
from control.appointment_queries import SessionView
from control.consents import Answer, Purpose
from control.models.appointments import Appointment, Presence
from control.reschedules import Proposal
from tests.helpers.practice import Site, World
from tests.web.conftest import Open
from tests.web.test_pages import completed, flaws_of

HOUR = timedelta(hours=1)


async def with_guest(world: World, view: SessionView) -> tuple[str, Actor]:
    made = await guests.invite(
        world.db, world.alice, view.id, email="gwen@example.org", name="Gwen Guest", now=world.clock()
    )
    gwen = await accounts.actor_of(world.db, made.person_id)
    assert gwen is not None
    return made.id, gwen


async def agreed(world: World, who: Actor, appointment_id: str) -> None:
    await world.consent(who, appointment_id, Purpose.CARE)
    await world.consent(who, appointment_id, Purpose.RECORDING, Answer.NO)


# -- guests ------------------------------------------------------------------------------------------------------


async def test_guest_opens_every_page_of_their_session_and_reads_nothing_of_money(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.confirmed()
    _, gwen = await with_guest(world, view)
    here = f"/sessions/{view.id}"
    consent = await open_page(gwen, f"{here}/consent")
    assert flaws_of(consent) == []
    assert "You agreed on" not in consent.text
    await agreed(world, gwen, view.id)
    pages = ["/dashboard", "/sessions", "/sessions?show=past", "/account", here]
    for path in [*pages, f"{here}/consent", f"{here}/recording-consent", f"{here}/waiting-room"]:
        page = await open_page(gwen, path)
        assert page.status == 200, path
        assert path.endswith("waiting-room") or flaws_of(page) == [], path  # that one holds the room's page too
        assert "€" not in page.text, path
        assert not page.all("dialog", id=f"cancel-{view.id}"), path
        assert not page.all("dialog", id="move-dialog"), path
    assert "You agreed on" in (await open_page(gwen, f"{here}/consent")).text
    assert here in (await open_page(gwen, "/dashboard")).links


async def test_guest_waits_for_admit_even_when_the_session_runs(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.started()
    guest_id, gwen = await with_guest(world, view)
    await agreed(world, gwen, view.id)
    here = f"/sessions/{view.id}"
    room = await open_page(gwen, f"{here}/room")
    assert (room.status, room.headers["Location"]) == (303, f"{here}/waiting-room")
    waiting = await open_page(gwen, f"{here}/waiting-room")
    assert waiting.status == 200
    assert "Alice will let you in." in waiting.text
    assert "hidden" in waiting.all("p", id="next-early")[0].attributes
    assert "hidden" not in waiting.all("p", id="next-running")[0].attributes
    await guests.admit(world.db, world.alice, view.id, guest_id, now=world.clock())
    waiting = await open_page(gwen, f"{here}/waiting-room")
    assert (waiting.status, waiting.headers["Location"]) == (303, f"{here}/room")
    room = await open_page(gwen, f"{here}/room")
    assert room.all("div", id="room")[0].attributes["data-role"] == "guest"
    assert not room.all("button", id="end")


@pytest.mark.parametrize("path", ["", "/consent", "/recording-consent", "/waiting-room", "/room"])
async def test_removed_guest_finds_nothing(site: Site, open_page: Open, path: str) -> None:
    world = site.world
    view = await world.started()
    guest_id, gwen = await with_guest(world, view)
    await guests.remove(world.db, world.alice, view.id, guest_id, now=world.clock())
    assert (await open_page(gwen, f"/sessions/{view.id}{path}")).status == 404
    assert (await open_page(gwen, "/dashboard")).status == 200


async def test_guest_of_an_ended_session_sees_its_page_and_rates_nothing(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.scheduled()
    _, gwen = await with_guest(world, view)
    await completed(world, view)
    here = f"/sessions/{view.id}"
    for path in ("room", "waiting-room"):
        assert (await open_page(gwen, f"{here}/{path}")).headers["Location"] == here
    page = await open_page(gwen, here)
    assert flaws_of(page) == []
    assert f"{here}/afterwards" not in page.links
    assert (await open_page(gwen, f"{here}/afterwards")).status == 404
    past = await open_page(gwen, "/sessions?show=past")
    assert f"{here}/afterwards" not in past.links
    assert "€" not in past.text


async def test_dashboard_offers_admit_for_a_guest_who_waits(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.started()
    guest_id, gwen = await with_guest(world, view)
    await agreed(world, gwen, view.id)
    async with world.db.transaction() as session:
        session.add(
            Presence(
                appointment_id=view.id, person_id=gwen.person_id, role="guest", connected_at=world.clock(), reason=None
            )
        )
    admit = f"/api/appointments/{view.id}/guests/{guest_id}/admit"
    page = await open_page(world.alice, "/therapist/dashboard")
    assert admit in page.actions
    assert "Gwen Guest, guest" in page.text
    assert "Care consent missing" not in page.text
    assert admit in (await open_page(world.alice, f"/sessions/{view.id}")).actions
    assert admit not in (await open_page(world.bob, f"/sessions/{view.id}")).actions
    await guests.admit(world.db, world.alice, view.id, guest_id, now=world.clock())
    assert admit not in (await open_page(world.alice, "/therapist/dashboard")).actions


@pytest.mark.parametrize("path", ["/dashboard", "/sessions"])
async def test_staff_are_led_to_their_own_pages_and_never_in_a_circle(site: Site, open_page: Open, path: str) -> None:
    from control.models.people import Role
    from tests.helpers.practice import add_person

    world = site.world
    async with world.db.transaction() as session:
        sam = await add_person(session, "Sam Support", Role.SUPPORT, now=world.clock())
    for who in (sam, world.dana, world.alice):
        page, seen = await open_page(who, path), [path]
        while page.status == 303:
            seen.append(page.headers["Location"])
            assert len(seen) < 4, seen
            page = await open_page(who, page.headers["Location"])
        assert page.status == 200, seen


# -- moving ------------------------------------------------------------------------------------------------------


async def test_each_side_proposes_and_the_other_one_answers(site: Site, open_page: Open) -> None:
    world = site.world
    for asker, other in ((world.bob, world.alice), (world.alice, world.bob)):
        view = await world.scheduled(start=world.first_start + (HOUR if asker is world.alice else 0 * HOUR))
        here = f"/sessions/{view.id}"
        assert f"/api/appointments/{view.id}/reschedule-session" in (await open_page(asker, here)).actions
        wanted = Proposal(view.starts_at + 25 * HOUR, reason="A train")
        asked = await reschedules.propose(world.db, asker, view.id, wanted, now=world.clock())
        answer = f"/api/reschedule-requests/{asked.id}"
        mine, theirs = await open_page(asker, here), await open_page(other, here)
        assert f"{answer}/withdraw" in mine.actions
        assert f"{answer}/accept" not in mine.actions
        assert {f"{answer}/accept", f"{answer}/reject"} <= theirs.actions
        assert "has requested to reschedule" in theirs.text
        assert "A train" in theirs.text
        assert not mine.all("dialog", id="move-dialog")
        day = {world.alice: "/therapist/dashboard", world.bob: "/dashboard"}
        assert f"{here}#request-{asked.id}" in (await open_page(other, day[other])).links
        assert f"{here}#request-{asked.id}" not in (await open_page(asker, day[asker])).links
        await reschedules.accept(world.db, other, asked.id, now=world.clock())
        assert "has requested" not in (await open_page(other, here)).text


async def test_nobody_is_offered_to_move_what_cannot_be_moved(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.scheduled()
    move = f"/api/appointments/{view.id}/reschedule-session"
    assert move not in (await open_page(world.dana, f"/sessions/{view.id}")).actions
    await appointments.cancel(world.db, world.alice, view.id, now=world.clock())
    for who in (world.alice, world.bob):
        assert move not in (await open_page(who, f"/sessions/{view.id}")).actions


# -- no-show, rating, again --------------------------------------------------------------------------------------


async def test_no_show_is_offered_to_the_practitioner_from_fifteen_minutes_on(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.started()
    mark = f"/api/appointments/{view.id}/complete-session"
    world.clock.forward(minutes=14)
    assert mark not in (await open_page(world.alice, f"/sessions/{view.id}")).actions
    async with world.db.transaction() as session:
        row = await session.get_one(Appointment, view.id)
        row.due_at = None
    world.clock.now = view.starts_at + timedelta(minutes=14, seconds=59)
    assert mark not in (await open_page(world.alice, f"/sessions/{view.id}")).actions
    assert mark not in (await open_page(world.bob, f"/sessions/{view.id}")).actions


async def test_no_show_is_not_offered_of_a_client_who_was_let_in(site: Site, open_page: Open) -> None:
    """The page asks the rule by which the server refuses it."""
    world = site.world
    view = await world.started()
    mark = f"/api/appointments/{view.id}/complete-session"
    async with world.db.transaction() as session:
        (await session.get_one(Appointment, view.id)).client_admitted_at = view.starts_at
    world.clock.now = view.starts_at + timedelta(minutes=20)
    page = await open_page(world.alice, f"/sessions/{view.id}")
    assert f"/sessions/{view.id}/room" in page.links
    assert mark not in page.actions
    assert not page.all("dialog", id="no-show-dialog")
    hand = await site.hand_of(world.alice)
    status, refused = await hand.post(mark, {"isNoShow": True, "noShowReason": None})
    assert (status, refused["code"]) == (409, "client_was_here")


async def test_kept_fee_is_offered_to_be_waived_to_who_may_and_once(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.scheduled()
    here, waive = f"/sessions/{view.id}", f"/api/appointments/{view.id}/waive-fee"
    assert waive not in (await open_page(world.alice, here)).actions
    await appointments.cancel(world.db, world.bob, view.id, now=world.clock())
    for who in (world.alice, world.dana):
        page = await open_page(who, here)
        assert waive in page.actions
        assert "Bob gets €25.00 back" in page.text
        assert flaws_of(page) == []
    assert waive not in (await open_page(world.bob, here)).actions
    await appointments.waive_fee(world.db, world.alice, view.id, now=world.clock())
    page = await open_page(world.alice, here)
    assert waive not in page.actions
    assert "The fee is waived" in page.text


async def test_cancelled_without_a_fee_has_none_to_waive(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.scheduled()
    await appointments.cancel(world.db, world.alice, view.id, now=world.clock())
    page = await open_page(world.alice, f"/sessions/{view.id}")
    assert f"/api/appointments/{view.id}/waive-fee" not in page.actions
    assert "It is over" in page.text


async def test_practitioner_rates_the_client_privately_and_once(site: Site, open_page: Open) -> None:
    world = site.world
    done = await completed(world, await world.scheduled())
    rate = f"/api/appointments/{done}/rate-session"
    page = await open_page(world.alice, f"/sessions/{done}")
    assert rate in page.actions
    assert "Only the practice's staff see this" in page.text
    assert not page.all("input", name="isPublic")
    given = ratings.NewRating(stars=2, feedback="Came late.", is_public=True)
    kept = await ratings.rate(world.db, world.alice, done, given, now=world.clock())
    assert not kept.is_public
    assert rate not in (await open_page(world.alice, f"/sessions/{done}")).actions
    for path in (f"/sessions/{done}", f"/sessions/{done}/afterwards"):
        assert "Came late" not in (await open_page(world.bob, path)).text


async def test_booking_again_leads_to_the_same_service_weekday_and_time(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.scheduled()
    await completed(world, view)
    again = f"/sessions/{view.id}/rebook"
    page = await open_page(world.bob, again)
    assert page.status == 303
    assert page.headers["Location"].startswith(f"/book/{world.service_id}?start=2026-03-03T14")
    filled = await open_page(world.bob, page.headers["Location"])
    assert filled.all("section", id="booker")[0].attributes["data-chosen"].startswith("2026-03-03T14:00")
    for who in (world.alice, world.charlie, world.dana):
        assert (await open_page(who, again)).status == 404
    assert again in (await open_page(world.bob, f"/sessions/{view.id}")).links


async def test_booking_again_what_is_not_offered_any_more_leads_to_the_profile(site: Site, open_page: Open) -> None:
    from sqlalchemy import update

    from control.models.practice import Service

    world = site.world
    view = await world.scheduled()
    async with world.db.transaction() as session:
        await session.execute(update(Service).where(Service.id == world.service_id).values(active=False))
    page = await open_page(world.bob, f"/sessions/{view.id}/rebook")
    assert page.headers["Location"].startswith(f"/practitioners/{world.alice.person_id}")
