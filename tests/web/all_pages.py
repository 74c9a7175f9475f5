"""Every page of the demo practice and who opens it, with what has to have happened before there is something on it.

For what is asked of all pages alike: axe, width, pictures. Everything happens through the API, as pages ask it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from playwright.async_api import Browser, Page

from tests.browser.journey import book_soonest, sign_in
from tests.browser.people import Server

PUBLIC = (
    *("/", "/practitioners", "/practitioners?q=nobody", "/sign-in", "/sign-up", "/privacy", "/no-such-page"),
    *("/contact", "/help", "/practitioners/{amara}", "/erased"),
)
PAGES = {
    "mina@example.com": (
        *("/dashboard", "/sessions", "/sessions?show=past", "/account", "/account/security", "/notices"),
        *("/sessions/{id}", "/sessions/{id}/consent", "/sessions/{id}/recording-consent", "/sessions/{late}"),
        *("/sessions/{moving}", "/book/{service}", "/book/{service}?appointment={id}"),
        *("/book/{long}?appointment={held}", "/book/{long}?appointment={held}&step=pay&terms=yes"),
        *("/book/{long}/series?start={start}", "/series/{series}"),
        *("/wallet", "/wallet/pay/{purchase}", "{receipt}", "/files", "/account/data", "/account/erase"),
        *("/messages", "/messages/support", "/messages/to/{amara}", "/messages/{talk}", "/practitioners?free=7"),
    ),
    "amara@lindenrow.example": (
        *("/therapist/dashboard", "/therapist/sessions", "/therapist/sessions?show=past", "/therapist/availability"),
        *("/therapist/recordings", "/sessions/{id}", "/sessions/{late}", "/sessions/{moving}", "/notices"),
        *("/practitioners/{amara}", "/account", "/account/security"),
        *("/therapist/clients", "/therapist/clients/{mina}", "/therapist/services", "/therapist/profile"),
        *("/therapist/aftercare", "/therapist/testimonials", "/therapist/earnings", "/messages"),
    ),
    "clara@lindenrow.example": (
        *("/admin/appointments", "/admin/appointments?id={id}", "/admin/outbox", "/admin/people", "/admin/audit"),
        *("/admin/settings", "/admin/status", "/account/security", "/admin/help-desk", "/admin/monitoring"),
        *("/admin/payouts", "/admin/problems", "/admin/testimonials", "/admin/refunds", "/admin/refunds?q=mina"),
        *("/admin/refunds?payment={payment}", "/sessions/{late}", "/problems/{problem}", "/admin/help-numbers"),
        *("/admin/monitoring/{talk}", "/admin/audit?subject=person:"),
    ),
}


@asynccontextmanager
async def opened(browser: Browser, server: Server, **options: Any) -> AsyncIterator[Page]:
    """A page of its own, which must not have written an error to its console."""
    context = await browser.new_context(base_url=server.url, **options)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield page
    await context.close()
    # Chromium itself writes a line for every refused or lost request; those are what some tests are about.
    assert [error for error in errors if not error.startswith("Failed to load resource")] == []


async def each_page(
    stack: AsyncExitStack, browser: Browser, server: Server, ids: dict[str, str], language: str, **options: Any
) -> AsyncIterator[tuple[str, Page]]:
    """Every page once, opened by somebody who may and who reads that language."""
    for email, paths in {"": PUBLIC, **PAGES}.items():
        page = await stack.enter_async_context(opened(browser, server, **options))
        if email:
            await sign_in(page, email)
            await _post(page, "/api/language", language=language)
        else:
            await page.set_extra_http_headers({"Accept-Language": language})
        for path in paths:
            await page.goto(path.format(**ids))
            yield f"{email} {path}", page


async def practice_in_use(browser: Browser, server: Server) -> dict[str, str]:
    """Mina has a session soon, one to be moved, one cancelled late, a hold and a series; has put money in, written
    to her practitioner and asked for urgent help."""
    async with opened(browser, server) as page:
        soon = await book_soonest(page, "mina@example.com")
        session = await _get(page, f"/api/appointments/{soon}")
        service, amara = session["service"]["id"], session["practitioner"]["id"]
        long, starts = await _long_session(page, amara)
        moving = await _paid(page, long, next(starts))
        later = {"proposedDate": next(starts), "reason": "I am travelling that day"}
        await _post(page, f"/api/appointments/{moving}/reschedule-session", **later)
        late = await _paid(page, service, await _soonest(page, service))
        await _post(page, f"/api/appointments/{late}/cancel-session", reason="A cold")
        held = await _post(page, "/sessions/book", serviceId=long, start=next(starts), timeZone="Europe/Lisbon")
        first = next(starts)
        weeks = [first, (datetime.fromisoformat(first) + timedelta(weeks=1)).isoformat()]
        series = await _post(page, "/sessions/book-series", serviceId=long, starts=weeks, timeZone="Europe/Lisbon")
        bought = await _topped_up(page, 2_050)
        waits = await _post(page, "/api/wallet/top-up", amount_minor=1_000, currency="EUR")
        payment = await _with_receipt(page, bought)
        talk = await _written(page, amara)
        asked = {"kind": "urgent", "text": "I am dizzy", "country": "NO"}
        problem = await _post(page, f"/api/appointments/{soon}/problems", **asked)
    return {
        "id": soon,
        "service": service,
        "long": long,
        "start": next(starts),
        "moving": moving,
        "late": late,
        "held": held["id"],
        "series": series["series_id"],
        "purchase": waits["id"],
        "payment": payment["id"],
        "receipt": payment["receipt"],
        "talk": talk,
        "problem": problem["id"],
        "amara": amara,
        "mina": session["client"]["id"],
    }


async def _written(page: Page, practitioner: str) -> str:
    """A conversation with a message and a file in it."""
    await page.goto(f"/messages/to/{practitioner}")
    seen = await page.locator("input[name=notice_version]").input_value()
    content = b"Sleep, walk, call"
    file = await _post(page, "/api/files", name="notes.txt", size=len(content))
    await _send(page, "PUT", f"/api/files/{file['id']}/chunks/0", content)
    words = {"text": "Shall I bring my notes?", "files": [file["id"]], "notice_version": seen}
    return str((await _post(page, "/api/conversations", to=practitioner, **words))["conversation_id"])


async def _get(page: Page, path: str) -> Any:
    answer = await page.request.get(path)
    assert answer.ok, f"{path}: {await answer.text()}"
    return await answer.json()


async def _post(page: Page, path: str, **body: Any) -> Any:
    return await _send(page, "POST", path, body)


async def _send(page: Page, method: str, path: str, data: Any) -> Any:
    token = await page.locator("meta[name=csrf-token]").get_attribute("content")
    origin = "/".join(page.url.split("/")[:3])
    headers = {"Origin": origin, "X-CSRF-Token": token or "", "Idempotency-Key": uuid4().hex}
    answer = await page.request.fetch(path, method=method, data=data, headers=headers)
    assert answer.ok, f"{path}: {await answer.text()}"
    return await answer.json()


async def _long_session(page: Page, practitioner: str) -> tuple[str, Iterator[str]]:
    """The service, and its free starts from three days ahead on, one a day: nobody else books that far ahead here."""
    profile = await _get(page, f"/api/practitioners/{practitioner}")
    service = next(one["id"] for one in profile["services"] if one["name"] == "Individual session")
    today = datetime.now(UTC).date()
    days = f"first={today + timedelta(days=3)}&last={today + timedelta(days=30)}"
    free = await _get(page, f"/api/services/{service}/slots?{days}")
    return service, iter([slots[0]["start"] for slots in free["days"].values() if slots])


async def _soonest(page: Page, service: str) -> str:
    today = datetime.now(UTC).date()
    free = await _get(page, f"/api/services/{service}/slots?first={today}&last={today + timedelta(days=1)}")
    starts: list[str] = [slot["start"] for slots in free["days"].values() for slot in slots]
    return starts[-1]


async def _paid(page: Page, service: str, start: str) -> str:
    booked = await _post(page, "/sessions/book", serviceId=service, start=start, timeZone="Europe/Lisbon")
    await _post(page, f"/api/appointments/{booked['id']}/payment", paymentMethod="wallet")
    return str(booked["id"])


async def _topped_up(page: Page, amount_minor: int) -> str:
    begun = await _post(page, "/api/wallet/top-up", amount_minor=amount_minor, currency="EUR")
    pay = {"paymentMethod": "demo", "paymentMethodToken": "demo_works"}
    await _post(page, f"/api/purchases/{begun['id']}/payment", **pay)
    return str(begun["id"])


async def _with_receipt(page: Page, purchase: str) -> dict[str, str]:
    """The payment of a purchase, as soon as its receipt has been written."""
    for _ in range(200):
        rows = (await _get(page, "/api/payments"))["payments"]
        found = next((one for one in rows if one["purchase_id"] == purchase and one["receipt"]), None)
        if found is not None:
            return dict(found)
        await asyncio.sleep(0.1)
    raise AssertionError("no receipt was written")
