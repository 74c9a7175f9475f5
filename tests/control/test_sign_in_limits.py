"""How often one may try to sign in: guessing is stopped, and nobody can lock somebody else out by guessing."""

import pytest
from sqlalchemy import func, select

from control.config import Settings
from control.database import Database
from control.models.outbox import OutboxRow
from control.models.people import Role
from tests.helpers.browsers import Answer, Browser, Someone
from tests.helpers.clock import ManualClock
from tests.helpers.control import AddSomeone, NewBrowser

MOST = 3
STRANGERS = 10 * MOST
WRONG = "not the password"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    behind = settings.server.model_copy(update={"trusted_proxies": ("127.0.0.1/32",)})
    few = settings.security.model_copy(update={"sign_in_tries_per_account": MOST})
    return settings.model_copy(update={"server": behind, "security": few})


@pytest.fixture
async def mina(add_someone: AddSomeone) -> Someone:
    return await add_someone("Mina", Role.CLIENT)


async def _try(browser: Browser, address: str, email: str, password: str) -> Answer:
    browser.headers["X-Forwarded-For"] = address
    return await browser.post("/api/sign-in", {"email": email, "password": password})


async def test_guessing_from_one_network_leaves_everybody_elses_way_open(
    new_browser: NewBrowser, mina: Someone
) -> None:
    guesser = await new_browser()
    statuses = [(await _try(guesser, "203.0.113.5", mina.email, WRONG)).status for _ in range(MOST + 1)]
    assert statuses == [403] * MOST + [429]
    assert (await _try(await new_browser(), "198.51.100.7", mina.email, mina.password)).status == 200


async def test_the_addresses_of_one_subscriber_count_as_one(new_browser: NewBrowser, mina: Someone) -> None:
    guesser = await new_browser()
    tries = [(await _try(guesser, f"2001:db8:1:2::{n:x}", mina.email, WRONG)).status for n in range(MOST + 1)]
    assert tries[-1] == 429
    assert (await _try(guesser, "2001:db8:1:3::1", mina.email, WRONG)).status == 403


async def test_guessing_from_everywhere_stops_strangers_but_not_a_browser_that_has_signed_in_before(
    new_browser: NewBrowser, mina: Someone, clock: ManualClock
) -> None:
    own, guesser = await new_browser(), await new_browser()
    assert (await _try(own, "198.51.100.7", mina.email, mina.password)).status == 200
    own.csrf = ""
    await own.post("/api/sign-out")
    own.csrf = ""
    for n in range(STRANGERS):
        await _try(guesser, f"203.0.113.{n // 2}", mina.email, WRONG)
    assert (await _try(guesser, "192.0.2.1", mina.email, mina.password)).status == 429
    assert (await _try(own, "192.0.2.1", mina.email, mina.password)).status == 200
    clock.forward(minutes=15)
    assert (await _try(guesser, "192.0.2.1", mina.email, mina.password)).status == 200


async def test_the_mark_of_one_account_is_worth_nothing_for_another(
    new_browser: NewBrowser, mina: Someone, add_someone: AddSomeone
) -> None:
    theo = await add_someone("Theo", Role.CLIENT)
    known_to_theo, guesser = await new_browser(), await new_browser()
    assert (await _try(known_to_theo, "198.51.100.7", theo.email, theo.password)).status == 200
    known_to_theo.csrf = ""
    for n in range(STRANGERS):
        await _try(guesser, f"203.0.113.{n // 2}", mina.email, WRONG)
    assert (await _try(known_to_theo, "198.51.100.7", mina.email, WRONG)).status == 429


async def test_a_mailbox_is_not_flooded_and_the_answer_does_not_say_so(
    new_browser: NewBrowser, mina: Someone, db: Database
) -> None:
    browser = await new_browser()
    answers = []
    for n in range(MOST + 3):
        browser.headers["X-Forwarded-For"] = f"203.0.113.{n}"
        answers.append(await browser.post("/api/sign-in/link", {"email": mina.email}))
    assert {(one.status, one.body["message"]) for one in answers} == {(202, answers[0].body["message"])}
    async with db.reading() as session:
        letters = select(func.count()).select_from(OutboxRow).where(OutboxRow.kind == "sign_in_link")
        assert await session.scalar(letters) == MOST
