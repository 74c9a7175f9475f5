"""Every page, for everybody who may open it, with a practice in full swing: it renders, it is whole, it is theirs."""

from datetime import timedelta

import pytest

from control import appointments, messages, ratings
from control.appointment_queries import SessionView
from control.consents import Answer, Purpose
from control.keys import MESSAGES, OUTBOX
from control.lifecycle import Party
from control.models.appointments import Appointment
from control.models.recordings import Recording, RecordingFile
from tests.helpers.practice import Site, World
from tests.web.conftest import Open, OpenAll
from tests.web.reading import Page

#: path → who may open it. `{now}` is a session that can be joined, `{done}` a completed one, `{missed}` one the
#: practitioner missed, `{held}` one being booked.
PAGES: dict[str, str] = {
    "/": "anybody",
    "/practitioners": "anybody",
    "/practitioners?q=individual": "anybody",
    "/practitioners?q=nobody-of-that-name": "anybody",
    "/practitioners?mode=video&price=60&free=7&topic=grief&language=English": "anybody",
    "/practitioners/{alice}": "anybody",
    "/practitioners/{alice}?service={service}": "anybody",
    "/book/{service}": "anybody",
    "/privacy": "anybody",
    "/sign-in/link/some-token": "anybody",
    "/account": "alice bob charlie dana erin",
    "/account/security": "alice bob charlie dana erin",
    "/notices": "alice bob charlie dana erin",
    "/dashboard": "bob charlie",
    "/sessions": "bob charlie",
    "/sessions?show=past": "bob charlie",
    "/appointments": "bob charlie",
    "/book/{service}?appointment={held}": "bob",
    "/book/{service}?appointment={held}&step=pay&terms=yes": "bob",
    "/book/{service}?appointment={now}": "bob",
    "/book/{service}/series?start=2026-03-02T16:00:00Z&weeks=3": "alice bob charlie dana erin",
    "/sessions/{now}": "alice bob dana",
    "/sessions/{done}": "alice bob dana",
    "/sessions/{missed}": "alice bob dana",
    "/sessions/{now}/consent": "bob",
    "/sessions/{now}/recording-consent": "bob",
    "/sessions/{done}/afterwards": "bob",
    "/sessions/{missed}/missed": "bob",
    "/messages": "alice bob charlie dana erin",
    "/messages?q=good+morning": "alice bob charlie dana erin",
    "/messages/{talk}": "alice bob",
    "/messages/to/{erin}": "bob charlie",
    "/help": "anybody",
    "/account/data": "alice bob charlie dana erin",
    "/account/erase": "alice bob charlie dana erin",
    "/erased": "anybody",
    "/messages/support": "alice bob charlie dana erin",
    "/enquiries/sent": "anybody",
    "/enquiries/some-token": "anybody",
    "/admin/help-desk": "dana",
    "/admin/help-numbers": "dana",
    "/admin/testimonials": "dana",
    "/therapist/testimonials": "alice erin",
    "/admin/help-desk?show=closed": "dana",
    "/admin/monitoring": "dana",
    "/admin/monitoring?q=bob": "dana",
    "/admin/monitoring/{talk}": "dana",
    "/therapist/dashboard": "alice erin",
    "/therapist/sessions": "alice erin",
    "/therapist/sessions?show=past&q=bob": "alice erin",
    "/therapist/availability": "alice erin",
    "/therapist/availability?week=2026-03-09": "alice erin",
    "/therapist/clients": "alice erin",
    "/therapist/clients?q=bob": "alice erin",
    "/therapist/clients/{bob}": "alice",
    "/therapist/services": "alice erin",
    "/therapist/profile": "alice erin",
    "/therapist/aftercare": "alice erin",
    "/therapist/recordings": "alice erin",
    "/therapist/recordings/{recording}": "alice",
    "/recordings": "alice bob charlie dana erin",
    "/recordings/looks": "alice bob charlie dana erin",
    "/recordings/{shared}": "bob",
    "/admin/appointments": "dana",
    "/admin/appointments?q=bob&state=completed": "dana",
    "/admin/appointments?id={now}": "dana",
    "/admin/outbox": "dana",
    "/admin/outbox?state=dead": "dana",
    "/admin/outbox?state=nonsense&cursor=nonsense": "dana",
    "/admin/people": "dana",
    "/admin/people?q=bob&role=client": "dana",
    "/admin/people?q=nobody-of-that-name": "dana",
    "/admin/audit": "dana",
    "/admin/audit?action=appointment.&subject=appointment:{now}": "dana",
    "/admin/audit?action=nothing&cursor=nonsense": "dana",
    "/admin/settings": "dana",
    "/admin/status": "dana",
}
PEOPLE = ("alice", "bob", "charlie", "dana", "erin")


def may_open(name: str) -> list[str]:
    return [path for path, who in PAGES.items() if who == "anybody" or name in who.split()]


def may_not_open(name: str) -> list[str]:
    return [path for path in PAGES if path not in may_open(name)]


async def completed(world: World, view: SessionView) -> str:
    """A scheduled session takes place: both are let in, and it ends after its time."""
    world.clock.now = view.starts_at
    await appointments.catch_up(world.db, view.id, now=world.clock())
    await appointments.start(world.db, world.alice, view.id, now=world.clock())
    async with world.db.transaction() as session:
        row = await session.get_one(Appointment, view.id)
        row.client_admitted_at = row.practitioner_admitted_at = world.clock()
    await appointments.complete(world.db, world.alice, view.id, now=world.clock.forward(minutes=50))
    return view.id


async def recorded(world: World, appointment_id: str, *, shared: bool = False) -> str:
    """A finished recording of a session: Alice's camera in two files, because she came back, and Bob's in one."""
    now = world.clock()
    async with world.db.transaction() as session:
        recording = Recording(
            appointment_id=appointment_id,
            practitioner_id=world.alice.person_id,
            state="ready",
            pressed="off",
            started_at=now,
            duration_ms=60_000,
            complete=True,
            chapters=[{"at_ms": 0, "title": "Alice Owner is recorded"}],
            shared_at=now if shared else None,
        )
        session.add(recording)
        await session.flush()
        for who, starts_ms in ((world.alice, 0), (world.alice, 30_000), (world.bob, 1_500)):
            session.add(
                RecordingFile(
                    recording_id=recording.id,
                    file_id=f"{who.person_id}-{starts_ms}",
                    participant_id=who.person_id,
                    name=who.name,
                    view="camera",
                    mime="video/webm",
                    size_bytes=1_000_000,
                    sha256="0" * 64,
                    starts_ms=starts_ms,
                    duration_ms=20_000,
                )
            )
        return recording.id


async def written(site: Site) -> str:
    """Bob has written to Alice, with an address in it; the conversation's id."""
    world, rules = site.world, site.app[MESSAGES]
    text = "Good morning, is <https://example.org/a?b=1&c=2>, the right page?\n\nBob"
    seen, now = rules.notice.version, world.clock()
    sent = await messages.write_to(world.db, rules, world.bob, world.alice.person_id, text, seen_notice=seen, now=now)
    return sent.conversation_id


@pytest.fixture
async def ids(site: Site) -> dict[str, str]:
    """A practice in full swing; the ids by the names used in PAGES."""
    world = site.world
    done, missed, now = [await world.scheduled(start=world.first_start + timedelta(hours=n)) for n in range(3)]
    await completed(world, done)
    world.clock.now = missed.starts_at
    await appointments.catch_up(world.db, missed.id, now=world.clock())
    world.clock.forward(minutes=20)
    await appointments.catch_up(world.db, missed.id, now=world.clock())
    world.clock.now = now.starts_at - timedelta(minutes=4)
    held = await world.book(start=world.first_start + timedelta(days=1))
    return {
        "alice": world.alice.person_id,
        "bob": world.bob.person_id,
        "service": world.service_id,
        "done": done.id,
        "missed": missed.id,
        "now": now.id,
        "held": held.id,
        "erin": world.erin.person_id,
        "talk": await written(site),
        "recording": await recorded(world, done.id),
        "shared": await recorded(world, done.id, shared=True),
    }


def flaws_of(page: Page) -> list[str]:
    """What no page may have."""
    flaws = [] if page.status == 200 else [f"status {page.status}: {page.text[:200]}"]
    flaws += [] if len(page.all("h1")) == 1 else [f"{len(page.all('h1'))} h1"]
    flaws += [f"inline {one}" for one in page.inline]
    flaws += [] if page.all("main", id="main") else ["no main"]
    flaws += [] if page.all("meta", name="csrf-token")[0].attributes["content"] else ["no CSRF token"]
    flaws += [] if page.headers["Cache-Control"] == "no-store" else ["may be cached"]
    flaws += [] if "script-src 'self'" in page.headers["Content-Security-Policy"] else ["weak policy"]
    flaws += ["a link that leads nowhere"] if page.links & {"#", ""} else []
    flaws += [f"id twice: {one}" for one in page.repeated_ids]
    return flaws


@pytest.mark.parametrize("name", PEOPLE)
async def test_every_page_is_whole_for_its_reader(
    site: Site, ids: dict[str, str], open_pages: OpenAll, name: str
) -> None:
    pages = await open_pages(getattr(site.world, name), [path.format(**ids) for path in may_open(name)])
    assert {path: flaws_of(page) for path, page in pages.items() if flaws_of(page)} == {}


@pytest.mark.parametrize("name", PEOPLE)
async def test_every_other_page_is_refused(site: Site, ids: dict[str, str], open_pages: OpenAll, name: str) -> None:
    pages = await open_pages(getattr(site.world, name), [path.format(**ids) for path in may_not_open(name)])
    own_start = {"/therapist/dashboard", "/therapist/sessions", "/admin/appointments"}
    for path, page in pages.items():
        if page.status == 303:
            assert page.headers["Location"] in own_start, path
            continue
        assert page.status in {403, 404}, path
        assert len(page.all("h1")) == 1, path
        assert "Bob Client" not in page.text.replace("Bob Client , your account", ""), path
        assert "Individual session" not in page.text, path


async def test_somebody_not_signed_in_is_sent_to_the_sign_in(
    site: Site, ids: dict[str, str], open_pages: OpenAll
) -> None:
    closed = [path.format(**ids) for path, who in PAGES.items() if who != "anybody"]
    for path, page in (await open_pages(None, closed)).items():
        assert page.status == 303, path
        assert page.headers["Location"].startswith("/sign-in?next="), path


async def test_public_page_names_no_client(site: Site, ids: dict[str, str], open_pages: OpenAll) -> None:
    opened = [path.format(**ids) for path, who in PAGES.items() if who == "anybody"]
    for path, page in (await open_pages(None, [*opened, "/sign-in", "/sign-up"])).items():
        assert flaws_of(page) == [], path
        assert "Bob" not in page.html, path
        assert site.world.bob.person_id not in page.html, path


async def test_client_sees_only_their_own_sessions(site: Site, open_page: Open) -> None:
    world = site.world
    await world.scheduled(who=world.bob)
    other = (await world.add_clients(1, wallet_minor=100_000))[0]
    theirs = await world.scheduled(who=other, start=world.first_start + timedelta(hours=1))
    for path in ("/dashboard", "/sessions", "/sessions?show=past", f"/practitioners/{world.alice.person_id}"):
        page = await open_page(world.bob, path)
        assert page.status == 200
        assert other.name not in page.html
        assert theirs.id not in page.html


async def test_admin_sees_no_rating_of_a_session(site: Site, open_page: Open) -> None:
    world = site.world
    done = await completed(world, await world.scheduled())
    given = ratings.NewRating(stars=1, feedback="It was not good for me.")
    await ratings.rate(world.db, world.bob, done, given, now=world.clock())
    for who in (world.alice, world.dana):
        page = await open_page(who, f"/sessions/{done}")
        assert "not good for me" not in page.text
        assert "of 5 stars" not in page.html


async def test_signed_in_person_is_led_on_from_the_sign_in(site: Site, open_page: Open) -> None:
    page = await open_page(site.world.bob, "/sign-in?next=/sessions")
    assert (page.status, page.headers["Location"]) == (303, "/sessions")


@pytest.mark.parametrize("target", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere", "/sign-in"])
async def test_sign_in_leads_nowhere_else(site: Site, open_page: Open, target: str) -> None:
    page = await open_page(None, f"/sign-in?next={target}")
    assert page.all("input", name="next")[0].attributes["value"] == "/dashboard"
    assert "elsewhere" not in page.html


@pytest.mark.parametrize(
    "path",
    [
        "/therapist/availability?week=9999-99-99",
        "/therapist/clients?cursor=x&q=%00",
        "/practitioners?price=1e9&free=-1&mode=x&topic=%00&language=%27",
        "/therapist/availability?week=0001-01-01",
        "/therapist/sessions?page=999999999999",
        "/therapist/sessions?page=-1&q=%00",
    ],
)
async def test_nonsense_in_the_address_shows_an_ordinary_page(site: Site, open_page: Open, path: str) -> None:
    page = await open_page(site.world.alice, path)
    assert page.status == 200


@pytest.mark.parametrize(
    "query", ["start=now", "start=9999-12-31T23:59:59Z", "start=2026-03-02T14:00", "month=0000-00"]
)
async def test_booker_ignores_a_start_it_cannot_read(site: Site, open_page: Open, query: str) -> None:
    page = await open_page(None, f"/book/{site.world.service_id}?{query}")
    assert page.status == 200


async def test_booker_shows_the_time_asked_for(site: Site, open_page: Open) -> None:
    world = site.world
    page = await open_page(world.bob, f"/book/{world.service_id}?start=2026-03-02T14:00:00Z")
    chosen = page.all("button", aria_pressed="true", data_start="2026-03-02T14:00:00+00:00")
    assert len(chosen) == 1
    assert "Mon 2 Mar, 15:00" in page.text  # Bob lives in Oslo
    assert "14:00 in Lisbon" in page.text


async def test_slots_say_both_zones_where_they_differ(site: Site) -> None:
    hand = await site.hand_of(None)
    status, month = await hand.get(f"/book/{site.world.service_id}/slots?month=2026-03&zone=Asia/Tokyo")
    assert status == 200
    days = [one for week in month["weeks"] for one in week if one and one["free"]]
    assert days[0]["slots"][0] | {"start": ""} == {
        "start": "",
        "time": "23:00",
        "other": "14:00 in Lisbon",
        "words": "Mon 2 Mar, 23:00",
        "otherWords": "14:00 Lisbon time",
    }


async def test_past_hold_is_shown_as_gone(site: Site, open_page: Open) -> None:
    world = site.world
    held = await world.book()
    world.clock.forward(minutes=11)
    page = await open_page(world.bob, f"/book/{world.service_id}?appointment={held.id}")
    assert "Nothing was charged" in page.text
    assert not any("payment" in action for action in page.actions)


async def test_paying_is_offered_only_after_the_terms(site: Site, open_page: Open) -> None:
    world = site.world
    held = await world.book()
    here = f"/book/{world.service_id}?appointment={held.id}&step=pay"
    assert f"/api/appointments/{held.id}/payment" not in (await open_page(world.bob, here)).actions
    assert f"/api/appointments/{held.id}/payment" in (await open_page(world.bob, f"{here}&terms=yes")).actions


async def test_dashboard_says_why_the_room_is_closed_and_opens_it(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.scheduled()
    early = await open_page(world.bob, "/dashboard")
    door = f"/sessions/{view.id}/waiting-room"
    assert "Opens at 14:55" in early.text  # Oslo
    assert door not in early.links
    await world.consent(world.bob, view.id, Purpose.CARE)
    world.clock.now = view.starts_at - timedelta(minutes=5)
    assert door in (await open_page(world.bob, "/dashboard")).links


async def test_consent_page_keeps_the_receipt(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.confirmed()
    before = await open_page(world.bob, f"/sessions/{view.id}/consent")
    assert "You agreed on" not in before.text
    assert before.all("input", name="text_id")[0].attributes["value"] == world.care_text_id
    await world.consent(world.bob, view.id, Purpose.CARE)
    assert "You agreed on" in (await open_page(world.bob, f"/sessions/{view.id}/consent")).text


async def test_recording_answers_weigh_the_same(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.confirmed()
    await world.consent(world.bob, view.id, Purpose.RECORDING, Answer.NO)
    page = await open_page(world.bob, f"/sessions/{view.id}/recording-consent")
    answers = page.all("button", name="answer")
    assert [one.attributes["value"] for one in answers] == ["yes", "no"]
    assert {one.attributes["class"] for one in answers} == {"answer"}
    assert "Until now your answer is no" in page.text


async def test_low_public_rating_is_asked_about_a_second_time(site: Site, open_page: Open) -> None:
    world = site.world
    done = await completed(world, await world.scheduled())
    first = await open_page(world.bob, f"/sessions/{done}/afterwards")
    assert f"/api/appointments/{done}/rate-session" in first.actions
    given = ratings.NewRating(stars=2, feedback="Not for me.", is_public=True)
    await ratings.rate(world.db, world.bob, done, given, now=world.clock())
    second = await open_page(world.bob, f"/sessions/{done}/afterwards")
    assert f"/api/appointments/{done}/rate-session/publish" in second.actions
    await ratings.confirm_publication(world.db, world.bob, done, now=world.clock())
    third = await open_page(world.bob, f"/sessions/{done}/afterwards")
    assert not any("rate-session" in one for one in third.actions)
    assert "/messages/support" in third.links
    assert "/help" in third.links
    assert "What went wrong?" in third.text


async def test_practitioner_page_offers_start_when_it_may(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.scheduled()
    start = f"/api/appointments/{view.id}/start"
    assert start not in (await open_page(world.alice, "/therapist/dashboard")).actions
    world.clock.now = view.starts_at - timedelta(minutes=5)
    assert start in (await open_page(world.alice, "/therapist/dashboard")).actions


async def test_letter_stands_in_a_frame_without_script(site: Site, open_page: Open) -> None:
    world = site.world
    await world.scheduled()
    await site.app[OUTBOX].work_once()
    listed = await open_page(world.dana, "/admin/outbox")
    first = next(link for link in listed.links if "id=" in link)
    page = await open_page(world.dana, first.removesuffix("#letter"))
    frame = page.all("iframe")[0].attributes
    assert "allow-scripts" not in frame["sandbox"]
    assert "frame-src 'self'" in page.headers["Content-Security-Policy"]
    letter = await open_page(world.dana, frame["src"])
    assert letter.status == 200
    assert "default-src 'none'" in letter.headers["Content-Security-Policy"]
    assert (await open_page(world.alice, frame["src"])).status == 403


async def test_unknown_page_says_so_kindly(site: Site, open_page: Open) -> None:
    page = await open_page(site.world.bob, "/there-is-no-such-page")
    assert page.status == 404
    assert len(page.all("h1")) == 1
    assert "/dashboard" in page.links


async def test_practitioner_is_no_client_of_their_own_pages(site: Site, open_page: Open) -> None:
    view = await site.world.confirmed()
    assert view.party is Party.CLIENT
    for path in ("consent", "recording-consent", "afterwards"):
        assert (await open_page(site.world.alice, f"/sessions/{view.id}/{path}")).status == 404


async def test_player_has_one_tile_a_person_and_every_file(site: Site, ids: dict[str, str], open_page: Open) -> None:
    page = await open_page(site.world.alice, f"/therapist/recordings/{ids['recording']}")
    assert len(page.all("figure")) == 2
    offsets = [one.attributes["data-offset"] for one in page.all("video")]
    assert offsets == ["0.0", "30.0", "1.5"]
    assert f"/api/recordings/{ids['recording']}" in page.actions  # deleting


async def test_home_promises_only_what_is_offered(open_page: Open) -> None:
    page = await open_page(None, "/")
    assert "offers sessions by video. Nothing" in page.text


async def test_account_offers_notices_on_the_device_only_where_push_is_on(site: Site, open_page: Open) -> None:
    assert "device-notices" not in (await open_page(site.world.bob, "/account")).text
    assert (await (await site.hand_of(site.world.bob)).get("/api/push"))[0] == 404
