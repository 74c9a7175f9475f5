"""Busy times from an imported calendar: what blocks a slot, what a stranger's address may do, what a failure keeps."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from control import availability, availability_rules, busy_times
from control.busy_reading import NotACalendar, busy_spans_untrusted
from control.busy_times import ImportRules
from control.calendar_fetching import MOST_BYTES, FetchFailed, check_address_untrusted, fetch_untrusted, is_public
from control.errors import Conflict, Forbidden, Invalid
from control.slots import Span
from tests.helpers.practice import MONDAY, Site, World

RULES = ImportRules(allow_private=True)
SPAN = Span(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 30, tzinfo=UTC))
LISBON = ZoneInfo("Europe/Lisbon")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def calendar(*events: str) -> bytes:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN"]
    for number, event in enumerate(events):
        own = [] if "UID:" in event else [f"UID:{number}"]
        lines += ["BEGIN:VEVENT", *own, "DTSTAMP:20260101T000000Z", *event.split("\n"), "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


def read(*events: str) -> list[str]:
    spans = busy_spans_untrusted(calendar(*events), SPAN, LISBON, "localhost")
    return [f"{one.start:%d %b %H:%M}-{one.end:%H:%M}" for one in spans]


NINE = "DTSTART:20260302T090000Z\nDTEND:20260302T100000Z"


# -- reading -----------------------------------------------------------------------------------------------------


def test_weekly_event_keeps_its_wall_time_over_a_clock_change_and_leaves_its_exceptions_out() -> None:
    weekly = (
        "DTSTART;TZID=Europe/Lisbon:20260316T090000\nDTEND;TZID=Europe/Lisbon:20260316T100000\n"
        "RRULE:FREQ=WEEKLY;COUNT=4\nEXDATE;TZID=Europe/Lisbon:20260323T090000"
    )
    assert read(weekly) == ["16 Mar 09:00-10:00", "30 Mar 08:00-09:00", "06 Apr 08:00-09:00"]


def test_times_without_a_zone_and_whole_days_are_the_practitioners() -> None:
    assert read("DTSTART:20260330T090000\nDURATION:PT30M") == ["30 Mar 08:00-08:30"]
    assert read("DTSTART;VALUE=DATE:20260330") == ["29 Mar 23:00-23:00"]


@pytest.mark.parametrize(
    "line",
    ["TRANSP:TRANSPARENT", "STATUS:CANCELLED", "X-MICROSOFT-CDO-BUSYSTATUS:FREE", f"UID:session-{'a' * 32}@localhost"],
)
def test_free_cancelled_and_our_own_events_block_nothing(line: str) -> None:
    assert read(NINE) == ["02 Mar 09:00-10:00"]
    assert read(f"{NINE}\n{line}") == []


def test_overlapping_events_are_one_span() -> None:
    assert read(NINE, "DTSTART:20260302T093000Z\nDTEND:20260302T110000Z") == ["02 Mar 09:00-11:00"]


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xfe", b"BEGIN:VCALENDAR", b"BEGIN:VEVENT\r\nEND:VEVENT\r\n"])
def test_what_is_no_calendar_is_refused(data: bytes) -> None:
    with pytest.raises(NotACalendar):
        busy_spans_untrusted(data, SPAN, LISBON, "localhost")


# -- fetching ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),  # noqa: S104
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
        *("224.0.0.1", "255.255.255.255"),
    ],
)
def test_addresses_of_our_own_networks_are_not_public(address: str) -> None:
    assert not is_public(address)
    assert is_public("93.184.215.14")
    assert is_public("2606:2800:21f:cb07:6820:80da:af6b:8b2c")


@pytest.mark.parametrize(
    "address",
    [
        *("ftp://example.org/a.ics", "file:///etc/passwd", "https://", "example.org/a.ics", "https://a:b@example.org/"),
        *("http://127.0.0.1/a.ics", "http://[::1]/", "http://localhost/", "http://[", "http://example.org:99999/"),
    ],
)
def test_address_that_leads_nowhere_good_is_refused_before_it_is_asked(address: str) -> None:
    with pytest.raises(FetchFailed) as refused:
        check_address_untrusted(address, allow_private=False)
    assert refused.value.code == "address_refused"


class _Says(AbstractResolver):
    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host=self._address, port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


async def test_name_that_resolves_to_our_own_network_is_refused() -> None:
    for address in ("127.0.0.1", "10.0.0.5"):
        with pytest.raises(FetchFailed) as refused:
            await fetch_untrusted("http://calendar.example/a.ics", resolver=_Says(address))
        assert refused.value.code == "address_refused"


@pytest_asyncio.fixture
async def elsewhere() -> AsyncIterator[Callable[[Answer], Awaitable[str]]]:
    """`await elsewhere(handler)`: the address of a server that answers with it."""
    running: list[TestServer] = []

    async def start(handler: Answer) -> str:
        app = web.Application()
        app.router.add_get("/{tail:.*}", handler)
        server = TestServer(app, host="127.0.0.1")
        await server.start_server()
        running.append(server)
        return str(server.make_url("/a.ics"))

    yield start
    for server in running:
        await server.close()


def gives(body: bytes, status: int = 200) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status)

    return answer


async def test_size_time_and_redirects_are_bounded(elsewhere: Callable[[Answer], Awaitable[str]]) -> None:
    async def onwards(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"{request.path}x")

    async def slow(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    async def inside(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("file:///etc/passwd")

    for handler, code in (
        (gives(b"x" * (MOST_BYTES + 1)), "too_large"),
        (gives(b"", 404), "not_found"),
        (gives(b"", 500), "unreachable"),
        (onwards, "too_many_redirects"),
        (slow, "too_slow"),
        (inside, "address_refused"),
    ):
        with pytest.raises(FetchFailed) as failed:
            await fetch_untrusted(await elsewhere(handler), allow_private=True, timeout_s=0.6)
        assert failed.value.code == code
    with pytest.raises(FetchFailed) as failed:
        await fetch_untrusted("http://127.0.0.1:1/", allow_private=True)
    assert failed.value.code == "unreachable"


# -- from address to slots ---------------------------------------------------------------------------------------


async def free_hours(world: World) -> list[int]:
    day = MONDAY.date()
    month = await availability.month_of_slots(world.db, world.service_id, day, day, LISBON, world.clock())
    return [slot.start.hour for slot in month[day]]


async def test_busy_times_take_slots_away_and_the_last_good_copy_outlives_a_failure(
    world: World, elsewhere: Callable[[Answer], Awaitable[str]]
) -> None:
    answers = [gives(calendar("DTSTART:20260302T152000Z\nDTEND:20260302T153000Z\nSUMMARY:Dentist")), gives(b"no")]

    async def answer(request: web.Request) -> web.StreamResponse:
        return await answers[0](request)

    address = await elsewhere(answer)
    await busy_times.set_import(world.db, world.alice, address, rules=RULES, now=world.clock())
    await busy_times.read_due(world.db, world.clock(), rules=RULES)
    found = await busy_times.my_import(world.db, world.alice)
    assert found is not None
    assert (found.state, found.failure, found.read_at) == ("read", None, world.clock())
    assert await free_hours(world) == [14, 16, 17]
    with pytest.raises(Conflict) as refused:
        await world.book(start=world.first_start + timedelta(hours=1))
    assert refused.value.code == "slot_not_offered"
    answers.pop(0)
    read_at = world.clock()
    await busy_times.read_due(world.db, world.clock(), rules=RULES)  # not due yet
    world.clock.forward(minutes=31)
    await busy_times.read_due(world.db, world.clock(), rules=RULES)
    found = await busy_times.my_import(world.db, world.alice)
    assert found is not None
    assert (found.state, found.failure, found.read_at) == ("failed", "not_a_calendar", read_at)
    assert await free_hours(world) == [14, 16, 17]
    span = Span(MONDAY, MONDAY + timedelta(days=1))
    week = await availability_rules.week_of_practitioner(world.db, world.alice, span, now=world.clock())
    assert [one.start.minute for one in week.busy] == [20]
    await busy_times.remove_import(world.db, world.alice, now=world.clock())
    assert await free_hours(world) == [14, 15, 16, 17]


async def test_another_address_forgets_the_busy_times_of_the_first(
    world: World, elsewhere: Callable[[Answer], Awaitable[str]]
) -> None:
    address = await elsewhere(gives(calendar("DTSTART:20260302T150000Z\nDTEND:20260302T160000Z")))
    await busy_times.set_import(world.db, world.alice, address, rules=RULES, now=world.clock())
    await busy_times.read_due(world.db, world.clock(), rules=RULES)
    assert await free_hours(world) == [14, 16, 17]
    await busy_times.set_import(world.db, world.alice, address + "?b", rules=RULES, now=world.clock())
    assert await free_hours(world) == [14, 15, 16, 17]


async def test_only_a_practitioner_imports_and_only_from_outside(world: World) -> None:
    with pytest.raises(Forbidden):
        await busy_times.set_import(world.db, world.bob, "https://example.org/", rules=RULES, now=world.clock())
    with pytest.raises(Invalid) as refused:
        await busy_times.set_import(world.db, world.alice, "http://10.0.0.1/", rules=ImportRules(), now=world.clock())
    assert refused.value.code == "address_refused"


async def test_imported_calendar_is_set_shown_and_forgotten_over_http(site: Site) -> None:
    path, body = "/api/imported-calendar", {"address": "webcal://calendar.invalid/me.ics"}
    alice = await site.hand_of(site.world.alice)
    status, made = await alice.post(path, body)
    assert (status, made["address"]) == (201, "https://calendar.invalid/me.ics")
    assert (await alice.get(path))[1]["address"] == made["address"]
    assert (await alice.delete(path))[0] == 204
    assert (await alice.get(path))[1] == {"address": None}
    for wrong in ({}, {"address": ""}, {"address": "http://127.0.0.1/"}, {"address": "x" * 2001}, body | {"more": 1}):
        status, problem = await alice.post(path, wrong)
        assert status == 422, problem
    for who, expected in ((None, 401), (site.world.bob, 403), (site.world.dana, 403)):
        hand = await site.hand_of(who)
        answers = (await hand.get(path), await hand.post(path, body), await hand.delete(path))
        assert [status for status, _ in answers] == [expected] * 3
