"""Every route of the practice refuses who may not, and what makes no sense, with a problem, and changes nothing."""

from typing import Any

import pytest
from sqlalchemy import func, select

from control.api import (
    appointments,
    availability,
    availability_rules,
    clients,
    consents,
    guests,
    my_practice,
    practitioners,
    ratings,
    reschedules,
    series,
    session_lists,
    sessions,
    wallet,
)
from control.models.audit import AuditEntry
from tests.helpers.practice import Site

MODULES = (
    *(appointments, availability, availability_rules, clients, consents, guests, my_practice),
    *(practitioners, ratings, reschedules, series, session_lists, sessions, wallet),
)
ROUTES = [(route.method, route.path) for module in MODULES for route in module.routes]  # type: ignore[attr-defined]
PUBLIC = {
    ("GET", "/professional/{id}/availability"),
    ("GET", "/api/practitioners"),
    ("GET", "/api/practitioners/{id}"),
    ("GET", "/api/services/{id}/slots"),
    ("GET", "/api/services/{id}/series"),
}
ID = ":[0-9a-f]{32}"
NOBODYS = "0" * 32
BODIES: dict[str, dict[str, Any]] = {
    "/availability-rules": {"weekdays": ["monday"], "startTime": "09:00", "endTime": "10:00"},
    "/availability-exceptions": {"date": "2026-03-05"},
    "/payment": {"paymentMethod": "wallet"},
    "/guests": {"email": "gwen@example.org", "name": "Gwen"},
    "/notes": {"text": "A note"},
    "/client-notes": {"text": "A note", "version": 1},
    "/my-policy": {"lateWindowHours": 24, "lateFeePercent": 50, "noShowFeePercent": 100},
    "/my-services": {"name": "One hour", "lengthMinutes": 60, "price": "50", "currency": "EUR"},
    "/my-consent-text": {"title": "A text", "body": "What this is."},
    "/reschedule-session": {"proposedDate": "2026-03-03T14:00:00Z"},
    "/rate-session": {"rating": 5},
    "/consents/": {"answer": "yes", "text_id": NOBODYS},
    "/wallet": {"amount_minor": 100, "currency": "EUR"},
    "/sessions/book-series": {
        "serviceId": NOBODYS,
        "starts": ["2026-03-02T14:00:00Z", "2026-03-09T14:00:00Z"],
        "timeZone": "UTC",
    },
    "/sessions/book": {"serviceId": NOBODYS, "start": "2026-03-02T14:00:00Z", "timeZone": "UTC"},
    "/sessions/availability": {"date": "2026-03-05", "startTime": "09:00", "endTime": "10:00"},
}


def plain(path: str) -> str:
    return path.replace(ID, "").replace("purpose:care|recording", "purpose")


def filled(path: str, appointment_id: str) -> str:
    return plain(path).replace("{id}", appointment_id).replace("{guest}", NOBODYS).replace("{purpose}", "recording")


def body_for(path: str) -> dict[str, Any]:
    if path.endswith(("/publish", "/withdraw", "/admit")):
        return {}
    return next((body for part, body in BODIES.items() if part in path), {})


async def ask(site: Site, who: Any, method: str, path: str) -> tuple[int, Any]:
    hand = await site.hand_of(who)
    if method == "GET":
        return await hand.get(path)
    if method == "DELETE":
        return await hand.delete(path)
    if method == "PUT":
        return await hand.put(path, body_for(path))
    return await hand.post(path, body_for(path))


async def entries(site: Site) -> int:
    async with site.world.db.reading() as session:
        return int(await session.scalar(select(func.count()).select_from(AuditEntry)) or 0)


async def test_every_route_but_the_public_ones_wants_a_sign_in(site: Site) -> None:
    view = await site.world.confirmed()
    before = await entries(site)
    for method, path in ROUTES:
        if (method, plain(path)) in PUBLIC:
            continue
        status, problem = await ask(site, None, method, filled(path, view.id))
        assert (status, problem["code"]) == (401, "not_signed_in"), (method, path)
    assert await entries(site) == before


async def test_stranger_finds_nothing_of_somebody_elses_session(site: Site) -> None:
    view = await site.world.confirmed()
    before = await entries(site)
    for who in (site.world.charlie, site.world.erin):
        for method, path in ROUTES:
            if "{id" not in path or (method, plain(path)) in PUBLIC:
                continue
            query = "?first=2026-03-02&last=2026-03-03" if path.endswith("/slots") else ""
            status, problem = await ask(site, who, method, filled(path, view.id) + query)
            assert status in (403, 404), (method, path, problem)
            assert problem["type"].startswith("urn:holdspace:problem:")
            assert "Bob" not in str(problem)
    assert await entries(site) == before


async def test_unknown_id_is_not_found_anywhere(site: Site) -> None:
    for method, path in ROUTES:
        if "{id" not in path:
            continue
        query = "?date=2026-03-02&first=2026-03-02&last=2026-03-03" if method == "GET" else ""
        if path.endswith("/series"):
            query = "?start=2026-03-02T14:00:00Z&weeks=2"
        for who in (site.world.alice, site.world.bob, site.world.dana):
            status, problem = await ask(site, who, method, filled(path, NOBODYS) + query)
            assert status in (403, 404, 422), (method, path, problem)


async def test_id_that_is_no_id_meets_no_route(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    for bad in ("1", "x" * 32, "A" * 32, "..%2f..%2fetc", "0" * 33):
        assert (await bob.get(f"/api/appointments/{bad}"))[0] == 404
        assert (await bob.post(f"/sessions/{bad}/generate-call-link"))[0] in (404, 405)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sessions/book", {}),
        ("/sessions/book", []),
        ("/sessions/book", {"serviceId": "x", "start": "2026-03-02T14:00:00Z", "timeZone": "UTC"}),
        ("/sessions/book", {"serviceId": NOBODYS, "start": "2026-03-02T14:00:00", "timeZone": "UTC"}),
        ("/sessions/book", {"serviceId": NOBODYS, "start": "0001-01-01T00:00:00Z", "timeZone": "UTC"}),
        ("/sessions/book", {"serviceId": NOBODYS, "start": "9999-12-31T23:59:59Z", "timeZone": "UTC"}),
        ("/sessions/book", {"serviceId": NOBODYS, "start": "2026-03-02T14:00:00Z", "timeZone": "Mars/Base"}),
        (
            "/sessions/book",
            {"serviceId": NOBODYS, "start": "2026-03-02T14:00:00Z", "timeZone": "UTC", "price": 0},
        ),
        ("{one}/payment", {"paymentMethod": "gold"}),
        ("{one}/payment", {"paymentMethod": "wallet", "amount": 1}),
        ("{one}/cancel-session", {"reason": "x" * 501}),
        ("{one}/cancel-session", {"reason": "a\u0000b"}),
        ("{one}/complete-session", {"isNoShow": "perhaps"}),
        ("{one}/rate-session", {"rating": 0}),
        ("{one}/rate-session", {"rating": 6}),
        ("{one}/rate-session", {"rating": 4.5}),
        ("{one}/rate-session", {"rating": 5, "feedback": "x" * 2001}),
        ("{one}/rate-session", {"rating": 5, "tags": ["x"] * 11}),
        ("{one}/consents/recording", {"answer": "withdrawn", "text_id": NOBODYS}),
        ("{one}/consents/recording", {"answer": "yes"}),
    ],
)
async def test_body_that_makes_no_sense_is_refused_and_changes_nothing(
    site: Site, path: str, body: dict[str, Any]
) -> None:
    view = await site.world.confirmed()
    before = await entries(site)
    bob = await site.hand_of(site.world.bob)
    status, problem = await bob.post(path.replace("{one}", f"/api/appointments/{view.id}"), body)
    assert status == 422, problem
    assert await entries(site) == before


@pytest.mark.parametrize(
    "body",
    [
        {"startTime": "24:00"},
        {"startTime": "9:00"},
        {"endTime": "09:60"},
        {"date": "2026-02-30"},
        {"date": "tomorrow"},
        {"price": -1},
        {"price": "1e9"},
        {"price": "50.001", "serviceId": "mine"},
        {"price": "NaN"},
        {"serviceId": "theirs"},
    ],
)
async def test_window_that_makes_no_sense_is_refused(site: Site, body: dict[str, Any]) -> None:
    alice = await site.hand_of(site.world.alice)
    if body.get("serviceId") == "mine":
        body = body | {"serviceId": site.world.service_id}
    elif body.get("serviceId") == "theirs":
        body = body | {"serviceId": NOBODYS}
    status, problem = await alice.post("/professional/sessions/availability", BODIES["/sessions/availability"] | body)
    assert status in (404, 422), problem


async def test_client_cannot_do_what_is_the_practitioners_or_the_admins(site: Site) -> None:
    bob = await site.hand_of(site.world.bob)
    window = BODIES["/sessions/availability"]
    for status, _ in (
        await bob.post("/professional/sessions/availability", window),
        await bob.get("/professional/sessions/availability"),
        await bob.get("/professional/sessions"),
        await bob.get("/api/waiting"),
        await bob.get("/api/appointments"),
        await bob.post(f"/api/people/{site.world.bob.person_id}/wallet", {"amount_minor": 1, "currency": "EUR"}),
    ):
        assert status == 403


async def test_admin_tops_a_wallet_up_once_per_key(site: Site) -> None:
    dana = await site.hand_of(site.world.dana)
    path = f"/api/people/{site.world.charlie.person_id}/wallet"
    for _ in range(2):
        status, body = await dana.post(path, {"amount_minor": 700, "currency": "EUR"}, key="gift")
        assert status == 200
        assert body["balances"] == [{"kind": "wallet", "currency": "EUR", "amount_minor": 700}]
    assert (await dana.post(path, {"amount_minor": 0, "currency": "EUR"}))[0] == 422
    assert (await dana.post(path, {"amount_minor": 5, "currency": "CHF"}))[0] == 422


async def test_lists_are_paged_without_gap_or_repeat(site: Site) -> None:
    world = site.world
    booked = [await world.scheduled(start=world.first_start.replace(hour=14 + n)) for n in range(4)]
    bob = await site.hand_of(world.bob)
    seen: list[str] = []
    path = "/sessions/my-bookings?limit=3"
    cursor: str | None = ""
    while cursor is not None:
        status, page = await bob.get(path + (f"&cursor={cursor}" if cursor else ""))
        assert status == 200
        seen += [one["id"] for one in page["sessions"]]
        cursor = page["next_cursor"]
    assert seen == [view.id for view in reversed(booked)]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=-1", "cursor=x", "cursor=e30", "cursor=" + "A" * 300, "limit=²"]
)
async def test_paging_that_is_not_ours_is_refused(site: Site, query: str) -> None:
    bob = await site.hand_of(site.world.bob)
    status, problem = await bob.get(f"/sessions/my-bookings?{query}")
    assert status == 400, problem


@pytest.mark.parametrize("query", ["", "date=", "date=2026-13-01", "date=260302", "date=0001-01-01", "date=9999-01-01"])
async def test_day_that_is_no_day_is_refused(site: Site, query: str) -> None:
    bob = await site.hand_of(site.world.bob)
    status, problem = await bob.get(f"/professional/{site.world.alice.person_id}/availability?{query}")
    assert (status, problem["code"]) == (400, "date_invalid")
