"""Every route the router knows, walked: somebody not signed in, a stranger and a wrong role get nowhere."""

import io
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from control.api import openapi
from control.config import Settings
from tests.helpers.browsers import Browser
from tests.helpers.practice import Hand, Site

NOBODY = "0" * 32

#: What is for everybody. A new route that is not here has to ask who it is.
PUBLIC_PAGES = frozenset(
    {
        "/",
        "/practitioners",
        "/practitioners/{id}",
        "/practitioners/{id}/message",
        "/contact",
        "/enquiries/sent",
        "/enquiries/{token}",
        "/help",
        "/book/{service_id}",
        "/book/{service_id}/slots",
        "/sign-in",
        "/sign-in/link/{token}",
        "/sign-up",
        "/manifest.webmanifest",
        "/offline",
        "/erased",
        "/privacy",
        "/start",
        "/static/{path}",
        "/sw.js",
    }
)
PUBLIC_API = frozenset(
    {
        "GET /api/credits/offers",
        "GET /api/help-numbers",
        "GET /api/me",
        "GET /api/openapi.json",
        "GET /api/practitioners",
        "GET /api/practitioners/{id}",
        "GET /api/services/{id}/series",
        "GET /api/services/{id}/slots",
        "GET /professional/{id}/availability",
        "POST /api/enquiries",
        "POST /api/enquiries/{token}/prove",
        "POST /api/sign-in",
        "POST /api/sign-in/link",
        "POST /api/sign-in/link/{token}",
        "POST /api/sign-out",
        "POST /api/sign-up",
        "POST /api/language",
        "POST /api/tokens",
    }
)
#: Each proves itself in its own way: a signature, a secret address, a join token, this host.
PROVEN_OTHERWISE = frozenset(
    {
        "POST /api/payments/razorpay-return",
        "POST /api/webhooks/mail",
        "POST /api/webhooks/razorpay",
        "POST /api/webhooks/stripe",
        "POST /api/webhooks/zendesk",
        "GET /calendar/{token}.ics",
        "GET /signaling",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }
)
#: Bodies that are well-formed, for routes whose model has required members.
BODIES: dict[str, dict[str, Any]] = {
    "payment": {"paymentMethod": "wallet"},
    "rate-session": {"rating": 5},
    "testimonial": {"text": "Good"},
    "reschedule-session": {"proposedDate": "2026-03-03T15:00:00Z"},
    "guests": {"email": "guest@example.org", "name": "Guest"},
    "recording": {"action": "start"},
    "chat": {"text": "Hello"},
    "marks": {"delivered": 1, "read": 1},
    "country": {"country": "PT"},
    "files": {"name": "a.pdf", "size": 10},
    "problems": {"kind": "technical"},
    "sharing": {"allowed": True},
    "{purpose}": {"answer": "yes", "text_id": NOBODY},
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    many = settings.security.model_copy(update={"writes_per_person": 10_000})
    return settings.model_copy(update={"security": many})


def _routes(app: web.Application) -> Iterator[tuple[str, str]]:
    for route in app.router.routes():
        if route.resource is not None and route.method != "HEAD":
            yield route.method, route.resource.canonical


#: What stands in a path where its pattern is no id.
WORDS = {"purpose": "care", "credits": "5", "index": "0"}


def _filled(path: str, one_id: str = NOBODY) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: WORDS.get(found.group(1), one_id), path)


def _is_public(method: str, path: str) -> bool:
    return f"{method} {path}" in PUBLIC_API | PROVEN_OTHERWISE or (method == "GET" and path in PUBLIC_PAGES)


async def _ask(browser: Browser, method: str, path: str, body: Any = None) -> Any:
    if method == "GET":
        days = "?first=2026-03-02&last=2026-03-03" if path.endswith("/slots") else ""
        return await browser.get(path + days)
    return await browser.send(method, path, None if method == "DELETE" else body or {}, Idempotency_Key=uuid4().hex)


async def test_somebody_not_signed_in_gets_only_what_is_public(site: Site) -> None:
    nobody = (await site.hand_of(None)).browser
    wrong = []
    for method, path in _routes(site.app):
        if _is_public(method, path):
            continue
        answer = await _ask(nobody, method, _filled(path))
        led = answer.headers.get("Location", "")
        if answer.status != 401 and not (answer.status == 303 and led.startswith("/sign-in")):
            wrong.append(f"{method} {path}: {answer.status} {answer.code or led}")
    assert not wrong, "\n".join(wrong)


async def test_the_lists_of_what_is_public_name_only_what_there_is(site: Site) -> None:
    there = {f"{method} {path}" for method, path in _routes(site.app)}
    assert there >= PUBLIC_API | PROVEN_OTHERWISE
    assert {path.removeprefix("GET ") for path in there} >= PUBLIC_PAGES


def _body_for(path: str) -> dict[str, Any]:
    return BODIES.get(path.rsplit("/", 1)[1], {})


async def test_a_stranger_gets_nowhere_with_somebody_elses_session(site: Site) -> None:
    world = site.world
    view = await world.confirmed()
    charlie = (await site.hand_of(world.charlie)).browser
    wrong = []
    for method, path in _routes(site.app):
        if not path.startswith(("/api/appointments/{", "/sessions/{")):
            continue
        answer = await _ask(charlie, method, _filled(path, view.id), _body_for(path))
        if answer.status not in {403, 404} or "Bob" in answer.text or "Individual session" in answer.text:
            wrong.append(f"{method} {path}: {answer.status} {answer.text[:300]}")
    assert not wrong, "\n".join(wrong)
    assert await _state(await site.hand_of(world.bob), view.id) == "confirmed"


async def _state(hand: Hand, appointment_id: str) -> str:
    return str((await hand.get(f"/api/appointments/{appointment_id}"))[1]["status"])


async def test_no_list_of_a_strangers_own_shows_somebody_else(site: Site) -> None:
    world = site.world
    view = await world.scheduled()
    charlie = (await site.hand_of(world.charlie)).browser
    for method, path in _routes(site.app):
        if method == "GET" and "{" not in path and path not in {"/api/live", "/signaling", "/metrics"}:
            answer = await _ask(charlie, method, path)
            assert "Bob" not in answer.text, path
            assert view.id not in answer.text, path
            assert world.bob.person_id not in answer.text, path


async def test_a_role_that_a_route_asks_for_is_asked_for(site: Site) -> None:
    world = site.world
    client, practitioner = [(await site.hand_of(who)).browser for who in (world.bob, world.alice)]
    wrong, asked = [], 0
    for one in openapi.operations():
        if not one.reading.roles:
            continue
        asked += 1
        refused = [client] if "practitioner" in one.reading.roles else [client, practitioner]
        for browser in refused:
            answer = await _ask(browser, one.method, _filled(one.path))
            if (answer.status, answer.code) != (403, "role_missing"):
                wrong.append(f"{one.method} {one.path}: {answer.status} {answer.code}")
    assert not wrong, "\n".join(wrong)
    assert asked > 30


async def test_what_is_wrong_with_a_request_is_said_as_a_problem_document(site: Site) -> None:
    bob = (await site.hand_of(site.world.bob)).browser
    wanted = {
        ("GET", "/api/no-such-thing", ""): (404, "not_found"),
        ("POST", "/professional/no-such-thing", "{}"): (404, "not_found"),
        ("PUT", "/api/me", "{}"): (405, "method_not_allowed"),
        ("DELETE", "/sessions/book", ""): (405, "method_not_allowed"),
        ("PATCH", "/api/account", '{"name": "' + "a" * 1_100_000 + '"}'): (413, "request_entity_too_large"),
    }
    csrf = (await bob.get("/api/me")).body["csrf_token"]
    headers = {**bob.headers, "Origin": bob.origin, "X-CSRF-Token": csrf, "Content-Type": "application/json"}
    for (method, path, body), (status, code) in wanted.items():
        async with bob.client.request(method, path, data=io.BytesIO(body.encode()), headers=headers) as answer:
            assert (answer.status, answer.content_type) == (status, "application/problem+json"), path
            told = await answer.json(content_type=None)
            assert (told["code"], told["status"], told["type"]) == (code, status, f"urn:holdspace:problem:{code}")
            assert ("Allow" in answer.headers) == (status == 405)


async def test_a_key_stands_for_one_request_of_one_person(site: Site) -> None:
    world = site.world
    bob, charlie = await site.hand_of(world.bob), await site.hand_of(world.charlie)
    start = (world.first_start + timedelta(hours=1)).isoformat()
    body = {"serviceId": world.service_id, "start": start, "timeZone": "UTC"}
    assert (await bob.post("/sessions/book", body, key=None))[1]["code"] == "idempotency_key_required"
    first = await bob.post("/sessions/book", body, key="one")
    assert first[0] == 201
    assert await bob.post("/sessions/book", body, key="one") == first
    status, other = await bob.post("/sessions/book", {**body, "timeZone": "Europe/Oslo"}, key="one")
    assert (status, other["code"]) == (422, "idempotency_key_reused")
    assert (await charlie.post("/sessions/book", body, key="one"))[0] == 409
    for key in ("", "é", "x" * 201):
        status, refused = await bob.post("/sessions/book", body, key=key.encode().decode("latin-1"))
        assert status == 400, refused
