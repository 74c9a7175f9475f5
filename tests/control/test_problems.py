"""Problems reported from a session: who is told and who never is, until when, and that only the concerned read them."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from control import audit, help_numbers, people
from control.accounts import OPERATOR, Actor
from control.database import Database
from control.errors import Conflict, Forbidden, NotFound
from control.help_numbers import countries, help_for
from control.language import speaking
from control.models.notices import NoticeRow
from control.models.outbox import OutboxRow, OutboxState
from control.models.people import Person, Role
from control.models.problems import ProblemKind, ProblemReport
from control.notices.kinds import NoticeKind
from control.notices.relevance import STILL_WANTED
from control.problems import ALERT_AGAIN, Problems
from control.room_news import RoomNews
from tests.helpers.practice import Site, World, add_person

KEY = b"k" * 32


@pytest.fixture
def problems(world: World) -> Problems:
    return Problems(world.db, KEY)


async def with_support(world: World) -> Actor:
    async with world.db.transaction() as session:
        return await add_person(session, "Sam Support", Role.SUPPORT, now=world.clock())


async def told(db: Database) -> list[str]:
    """The names of whom an alert went to, in order of alerts."""
    async with db.reading() as session:
        rows = await session.execute(
            select(Person.name)
            .join(NoticeRow, NoticeRow.person_id == Person.id)
            .where(NoticeRow.kind == "problem_alert")
            .order_by(NoticeRow.created_at, Person.name)
        )
        return list(rows.scalars())


@pytest.mark.parametrize(
    ("kind", "who"),
    [
        (ProblemKind.TECHNICAL, ["Alice Owner", "Sam Support"]),
        (ProblemKind.UNSAFE, ["Dana Admin", "Sam Support"]),
        (ProblemKind.URGENT, ["Alice Owner", "Dana Admin", "Sam Support"]),
    ],
)
async def test_each_kind_goes_to_its_people(
    world: World, problems: Problems, kind: ProblemKind, who: list[str]
) -> None:
    view = await world.started()
    await with_support(world)
    await problems.report(world.bob, view.id, kind, "words", None, now=world.clock())
    assert await told(world.db) == who


async def test_practitioner_reports_too_and_is_not_alerted_about_it(world: World, problems: Problems) -> None:
    view = await world.started()
    await with_support(world)
    await problems.report(world.alice, view.id, ProblemKind.URGENT, "", None, now=world.clock())
    assert await told(world.db) == ["Dana Admin", "Sam Support"]


async def test_without_support_the_admins_are_told_of_a_technical_one(world: World, problems: Problems) -> None:
    view = await world.started()
    await problems.report(world.bob, view.id, ProblemKind.TECHNICAL, "", None, now=world.clock())
    assert await told(world.db) == ["Alice Owner", "Dana Admin"]


async def test_unsafe_stays_unknown_to_the_practitioner_even_as_an_admin(world: World, problems: Problems) -> None:
    view = await world.started()
    heard: list[RoomNews] = []
    world.db.subscribe(lambda events: heard.extend(one for one in events if isinstance(one, RoomNews)))
    also_admin = Actor(world.alice.person_id, frozenset({Role.PRACTITIONER, Role.ADMIN}), "Alice Owner", "UTC")
    made = await problems.report(world.bob, view.id, ProblemKind.UNSAFE, "words", None, now=world.clock())
    for ask in (problems.get(also_admin, made.id), problems.take(also_admin, made.id, now=world.clock())):
        with pytest.raises(NotFound):
            await ask
    assert await problems.listed(also_admin) == ()
    assert heard == []
    assert "Alice Owner" not in await told(world.db)


async def _become(world: World, who: Actor, *roles: Role) -> None:
    await people.set_roles(world.db, OPERATOR, who.person_id, roles, now=world.clock())


async def test_unsafe_leaves_no_trace_that_the_practitioner_can_read_as_an_admin(site: Site) -> None:
    world = site.world
    view = await world.started()
    await _become(world, world.alice, Role.PRACTITIONER, Role.ADMIN)
    bob = await site.hand_of(world.bob)
    for kind in ("technical", "unsafe"):
        assert (await bob.post(f"/api/appointments/{view.id}/problems", {"kind": kind}))[1]["told"] is True
    alice, dana = await site.hand_of(world.alice), await site.hand_of(world.dana)
    for who, steps, letters in ((dana, 2, 3), (alice, 1, 2)):
        assert len((await who.get("/api/audit?action=problem"))[1]["entries"]) == steps
        sent = (await who.get("/api/outbox"))[1]["letters"]
        assert len([one for one in sent if one["kind"] == "problem_alert"]) == letters


async def test_reporter_hears_when_nobody_could_be_told(site: Site) -> None:
    """Whoever works alone is practitioner and admin in one."""
    world = site.world
    view = await world.started()
    await _become(world, world.alice, Role.PRACTITIONER, Role.ADMIN)
    await _become(world, world.dana, Role.CLIENT)
    bob, alice = await site.hand_of(world.bob), await site.hand_of(world.alice)
    path = f"/api/appointments/{view.id}/problems"
    told = [(await bob.post(path, {"kind": kind}))[1]["told"] for kind in ("technical", "unsafe", "urgent")]
    assert told == [True, False, True]
    assert (await alice.post(path, {"kind": "technical"}))[1]["told"] is False


async def test_untaken_alert_goes_again_to_everyone_next_in_line(world: World, problems: Problems) -> None:
    view = await world.started()
    sam = await with_support(world)
    made = await problems.report(world.bob, view.id, ProblemKind.TECHNICAL, "", None, now=world.clock())
    world.clock.now += ALERT_AGAIN - timedelta(seconds=1)
    assert await problems.escalate_due(world.clock()) == 0
    world.clock.now += timedelta(seconds=1)
    assert await problems.escalate_due(world.clock()) == 1
    assert await problems.escalate_due(world.clock()) == 0
    assert await told(world.db) == ["Alice Owner", "Sam Support", "Alice Owner", "Dana Admin", "Sam Support"]
    await problems.take(sam, made.id, now=world.clock())
    world.clock.now += timedelta(hours=3)
    assert await problems.escalate_due(world.clock()) == 0
    log = [entry.action for entry in await audit.entries_about(world.db, f"problem:{made.id}")]
    assert sorted(log) == ["problem.alert_again", "problem.report", "problem.take"]


async def test_alerts_never_stop_by_themselves(world: World, problems: Problems) -> None:
    view = await world.started()
    await problems.report(world.bob, view.id, ProblemKind.URGENT, "", None, now=world.clock())
    for _ in range(60):
        world.clock.now += ALERT_AGAIN
        assert await problems.escalate_due(world.clock()) == 1
    world.clock.now += timedelta(minutes=59)
    assert await problems.escalate_due(world.clock()) == 0
    world.clock.now += timedelta(minutes=1)
    assert await problems.escalate_due(world.clock()) == 1


async def test_first_to_take_has_it_and_the_reporter_hears_of_it(world: World, problems: Problems) -> None:
    view = await world.started()
    sam = await with_support(world)
    made = await problems.report(world.bob, view.id, ProblemKind.TECHNICAL, "", None, now=world.clock())
    heard: list[RoomNews] = []
    world.db.subscribe(lambda events: heard.extend(one for one in events if isinstance(one, RoomNews)))
    assert (await problems.take(sam, made.id, now=world.clock())).taken_by == "Sam Support"
    assert (await problems.take(world.alice, made.id, now=world.clock())).taken_by == "Sam Support"
    assert [(one.topic, one.to) for one in heard] == [("problem_taken", (world.bob.person_id,))]
    closed = await problems.close(sam, made.id, now=world.clock())
    assert closed.closed_at == world.clock()


async def test_letter_waiting_when_it_is_taken_is_not_sent(world: World, problems: Problems) -> None:
    view = await world.started()
    made = await problems.report(world.bob, view.id, ProblemKind.TECHNICAL, "", None, now=world.clock())
    async with world.db.reading() as session:
        waiting = OutboxRow.state == OutboxState.WAITING
        row = (await session.scalars(select(OutboxRow).where(OutboxRow.kind == "problem_alert", waiting))).first()
        assert row is not None
        wanted = STILL_WANTED[NoticeKind.PROBLEM_ALERT]
        assert await wanted(session, None, row.facts, world.clock())
    await problems.take(world.alice, made.id, now=world.clock())
    async with world.db.reading() as session:
        assert not await wanted(session, None, row.facts, world.clock())


async def test_words_are_sealed_and_in_no_notice(world: World, problems: Problems) -> None:
    view = await world.started()
    await problems.report(world.bob, view.id, ProblemKind.UNSAFE, "a private thing", None, now=world.clock())
    async with world.db.reading() as session:
        report = (await session.scalars(select(ProblemReport))).one()
        assert report.sealed is not None
        assert b"private" not in report.sealed
        for table in (OutboxRow, NoticeRow):
            for row in await session.scalars(select(table)):
                assert "private" not in repr(row.facts)
    assert (await problems.listed(world.dana))[0].text == "a private thing"


async def test_urgent_help_names_the_numbers_of_the_stated_country(world: World, problems: Problems) -> None:
    view = await world.started()
    made = await problems.report(world.bob, view.id, ProblemKind.URGENT, "", "PT", now=world.clock())
    assert made.help is not None
    assert made.help.numbers[0].number == "112"
    assert (await problems.report(world.bob, view.id, ProblemKind.TECHNICAL, "", "PT", now=world.clock())).help is None


async def test_admin_is_in_no_session_and_there_is_none_before_it_is_paid(world: World, problems: Problems) -> None:
    held = await world.book()
    with pytest.raises(Conflict, match="not_open"):
        await problems.report(world.bob, held.id, ProblemKind.TECHNICAL, "", None, now=world.clock())
    with pytest.raises(Forbidden, match="not_in_session"):
        await problems.report(world.dana, held.id, ProblemKind.TECHNICAL, "", None, now=world.clock())


async def test_strangers_report_read_and_take_nothing(site: Site) -> None:
    world = site.world
    view = await world.started()
    path = f"/api/appointments/{view.id}/problems"
    bob = await site.hand_of(world.bob)
    status, made = await bob.post(path, {"kind": "urgent", "country": "GB"})
    assert (status, made["help"]["numbers"][0]["number"]) == (201, "999")
    one = f"/api/problems/{made['id']}"
    for who, report, read in (
        (world.charlie, 404, 404),
        (world.erin, 404, 404),
        (world.bob, 201, 404),
        (None, 401, 401),
    ):
        hand = await site.hand_of(who)
        assert (await hand.post(path, {"kind": "technical"}))[0] == report
        assert (await hand.get(one))[0] == read
        assert (await hand.post(f"{one}/take"))[0] == read
        assert (await hand.post(f"{one}/close"))[0] == read
        assert (await hand.get("/api/problems"))[0] == (401 if who is None else 403)
    for body in (
        {"kind": "urgency"},
        {"kind": "urgent", "country": "xx"},
        {"kind": "urgent", "text": "x" * 2_001},
        {},
    ):
        assert (await bob.post(path, body))[0] == 422
    dana = await site.hand_of(world.dana)
    assert (await dana.post(f"{one}/take"))[1]["taken_by"] == "Dana Admin"
    assert [one["kind"] for one in (await dana.get("/api/problems"))[1]["problems"]][-1] == "urgent"


async def test_numbers_are_there_for_everybody_and_unknown_countries(site: Site) -> None:
    nobody = await site.hand_of(None)
    status, found = await nobody.get("/api/help-numbers?country=NO")
    assert (status, found["name"], found["numbers"][0]["number"]) == (200, "Norway", "113")
    assert (await nobody.get("/api/help-numbers?country=ZZ"))[1]["name"] == "Another country"
    assert (await nobody.get("/api/help-numbers?country=norway"))[0] == 400


def test_every_number_has_a_source_and_every_country_one_that_sends_somebody() -> None:
    for country in countries():
        assert country.numbers, country.name
        for one in country.numbers:
            assert one.source.startswith(("https://", "http://")), one.name
            assert one.number or one.url
        assert country.numbers[0].number
    assert help_for(None).code == help_for("zz").code == ""


def test_numbers_are_named_in_the_language_that_is_spoken_and_services_by_their_own_names() -> None:
    english = {one.name for country in countries() for one in country.numbers}
    assert set(help_numbers.LINES) <= english
    with speaking("de"):
        austria, brazil = help_for("AT"), help_for("BR")
        names = [one.name for one in countries()]
    assert [one.name for one in austria.numbers] == ["Rettungsdienst, Feuerwehr, Polizei", "Telefonseelsorge"]
    assert (austria.name, brazil.name, names[-1]) == ("Österreich", "Brasilien", "Anderes Land")
    assert names.index("Österreich") < names.index("Peru")
    assert help_for("AT").name == "Austria"


def test_numbers_nobody_verified_are_marked_as_such() -> None:
    assert len(countries()) == 65, "64 and the rest of the world"
    assert {one.verified_on for one in countries()} == {None}, "a date is written only by who looked at the source"


def test_the_product_never_speaks_of_emergencies() -> None:
    root = Path(__file__).parents[2]
    said = []
    for folder in ("control", "web/views", "web/templates", "web/static/js", "signaling", "recorder"):
        for path in (root / folder).rglob("*"):
            ours = path.suffix in {".py", ".html", ".js", ".json"}
            if ours and "emergenc" in path.read_text(encoding="utf-8").lower():
                said.append(str(path.relative_to(root)))
    assert said == []


async def test_practitioner_is_shown_the_numbers_of_the_country_their_client_is_in(site: Site) -> None:
    world = site.world
    view = await world.started()
    path = f"/api/appointments/{view.id}"
    bob, alice = await site.hand_of(world.bob), await site.hand_of(world.alice)
    assert (await bob.post(f"{path}/country", {"country": "JP"}))[1]["name"] == "Japan"
    assert (await alice.post(f"{path}/problems", {"kind": "urgent"}))[1]["help"]["code"] == "JP"
    for who, status in ((world.alice, 403), (world.charlie, 404), (None, 401)):
        hand = await site.hand_of(who)
        assert (await hand.post(f"{path}/country", {"country": "NO"}))[0] == status
    assert (await bob.post(f"{path}/country", {"country": "Japan"}))[0] == 422
