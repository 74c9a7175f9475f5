"""The second step of signing in: who needs it, what it lets through, codes that work once, and nothing before it."""

from datetime import timedelta
from typing import Any

import pyotp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy import select

from control import second_factor
from control.config import Settings
from control.database import Database
from control.errors import Conflict
from control.keys import FACTOR_RULES
from control.models.factors import RecoveryCode, TotpSecret
from control.models.outbox import OutboxRow
from control.models.people import Person, Role
from control.second_factor import FactorRules
from tests.helpers.browsers import Browser, Someone, open_browser
from tests.helpers.clock import ManualClock
from tests.helpers.control import ORIGIN, AddSomeone, NewBrowser


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"security": settings.security.model_copy(update={"second_factor": True})})


async def _amara(add_someone: AddSomeone, *roles: Role) -> Someone:
    return await add_someone("Amara", *(roles or (Role.PRACTITIONER,)))


async def _half_in(server: TestServer, someone: Someone) -> tuple[Browser, dict[str, Any]]:
    browser = await open_browser(server, ORIGIN)
    answer = await browser.sign_in(someone.email, someone.password)
    assert answer.status == 200, answer
    return browser, answer.body


def _code(secret: str, clock: ManualClock, periods: int = 0) -> str:
    return pyotp.TOTP(secret).at(clock() + timedelta(seconds=30 * periods))


async def _set_up(browser: Browser, clock: ManualClock) -> tuple[str, list[str]]:
    made = await browser.post("/api/account/totp", {})
    assert made.status == 200, made
    confirmed = await browser.post("/api/account/totp/confirm", {"code": _code(made.body["secret"], clock)})
    assert confirmed.status == 200, confirmed
    clock.now += timedelta(seconds=60)  # a code works once, also the one that confirmed
    return made.body["secret"], confirmed.body["recovery_codes"]


@pytest.mark.parametrize("role", [Role.PRACTITIONER, Role.SUPPORT, Role.ADMIN])
async def test_staff_may_do_nothing_before_the_second_step_but_set_it_up(
    new_browser: NewBrowser, add_someone: AddSomeone, clock: ManualClock, role: Role
) -> None:
    browser = await new_browser(await _amara(add_someone, role))
    assert (await browser.get("/api/account")).status == 401
    refused = await browser.get("/api/appointments/" + "0" * 32)
    assert (refused.status, refused.body["code"]) == (401, "second_factor_required")
    assert (await browser.post("/api/account/password", {"password": "another password"})).status == 401
    assert (await browser.post("/api/account/sign-out-everywhere", {})).status == 401
    await _set_up(browser, clock)
    assert (await browser.get("/api/account")).status == 200


async def test_a_client_needs_none_unless_they_set_one_up(
    new_browser: NewBrowser, add_someone: AddSomeone, clock: ManualClock
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    browser = await new_browser(mina)
    assert (await browser.get("/api/account")).status == 200
    await _set_up(browser, clock)
    again = await new_browser(mina)
    assert (await again.get("/api/account")).status == 401


async def test_the_demos_people_need_none_while_it_is_a_demo(db: Database, add_someone: AddSomeone) -> None:
    amara = await _amara(add_someone)
    async with db.transaction() as session:
        person = await session.get(Person, amara.actor.person_id)
        assert person is not None
        person.is_demo = True
        assert not FactorRules(b"", for_staff=True, demo=True).is_needed(person)
        assert FactorRules(b"", for_staff=True, demo=False).is_needed(person)


async def test_a_code_lets_in_once_and_leads_where_the_sign_in_wanted(
    server: TestServer, new_browser: NewBrowser, add_someone: AddSomeone, clock: ManualClock
) -> None:
    amara = await _amara(add_someone)
    secret, _ = await _set_up(await new_browser(amara), clock)
    browser, answer = await _half_in(server, amara)
    assert answer["second_factor"] == "give"
    assert answer["next"].startswith("/sign-in/second-step?next=%2F")
    code = _code(secret, clock)
    let_in = await browser.post("/api/sign-in/second-step", {"code": code, "next": "/account"})
    assert (let_in.status, let_in.body) == (200, {"next": "/account"})
    assert (await browser.get("/api/account")).status == 200
    other, _ = await _half_in(server, amara)
    refused = await other.post("/api/sign-in/second-step", {"code": code})
    assert (refused.status, refused.body["code"]) == (403, "code_wrong")
    for opened in (browser, other):
        await opened.client.session.close()


@pytest.mark.parametrize(("periods", "status"), [(-2, 403), (-1, 200), (0, 200), (1, 200), (2, 403)])
async def test_a_code_may_be_one_period_early_or_late(
    server: TestServer,
    new_browser: NewBrowser,
    add_someone: AddSomeone,
    clock: ManualClock,
    periods: int,
    status: int,
) -> None:
    amara = await _amara(add_someone)
    secret, _ = await _set_up(await new_browser(amara), clock)
    clock.now += timedelta(minutes=5)
    browser, _ = await _half_in(server, amara)
    answer = await browser.post("/api/sign-in/second-step", {"code": _code(secret, clock, periods)})
    assert answer.status == status
    await browser.client.session.close()


async def test_five_wrong_codes_end_the_session(
    server: TestServer, new_browser: NewBrowser, add_someone: AddSomeone, clock: ManualClock
) -> None:
    amara = await _amara(add_someone)
    secret, _ = await _set_up(await new_browser(amara), clock)
    browser, _ = await _half_in(server, amara)
    wrong = "000000" if _code(secret, clock) != "000000" else "111111"
    for _ in range(second_factor.MOST_TRIES):
        assert (await browser.post("/api/sign-in/second-step", {"code": wrong})).status == 403
    gone = await browser.post("/api/sign-in/second-step", {"code": _code(secret, clock)})
    assert gone.status in (401, 403)
    assert (await browser.get("/api/account")).status == 401
    await browser.client.session.close()


async def test_a_recovery_code_works_once_and_its_person_is_told(
    server: TestServer, new_browser: NewBrowser, add_someone: AddSomeone, clock: ManualClock, db: Database
) -> None:
    amara = await _amara(add_someone)
    _, codes = await _set_up(await new_browser(amara), clock)
    assert len(set(codes)) == second_factor.RECOVERY_CODES
    for status in (200, 403):
        browser, _ = await _half_in(server, amara)
        sent = codes[0].upper().replace("-", " ")
        assert (await browser.post("/api/sign-in/second-step", {"code": sent})).status == status
        await browser.client.session.close()
    async with db.reading() as session:
        told = [row.facts["what"] for row in await session.scalars(select(OutboxRow)) if row.kind == "account_changed"]
        stored = list(await session.scalars(select(RecoveryCode.code_hash)))
    assert told == ["totp_added", "recovery_code_used"]
    assert not any(code in stored for code in codes)


async def test_who_has_one_can_not_set_up_another_before_giving_it(
    server: TestServer, new_browser: NewBrowser, add_someone: AddSomeone, clock: ManualClock
) -> None:
    amara = await _amara(add_someone)
    await _set_up(await new_browser(amara), clock)
    browser, _ = await _half_in(server, amara)
    assert (await browser.post("/api/account/totp", {})).status == 401
    assert (await browser.post("/api/account/passkeys/begin", {})).status == 401
    assert (await browser.get("/api/account/security")).status == 401
    await browser.client.session.close()


async def test_the_last_factor_of_staff_stays_and_that_of_a_client_may_go(
    new_browser: NewBrowser, add_someone: AddSomeone, clock: ManualClock
) -> None:
    staff = await new_browser(await _amara(add_someone))
    await _set_up(staff, clock)
    refused = await staff.delete("/api/account/totp")
    assert (refused.status, refused.body["code"]) == (409, "last_factor")
    assert (await staff.get("/api/account")).status == 200
    mina = await add_someone("Mina", Role.CLIENT)
    client = await new_browser(mina)
    await _set_up(client, clock)
    assert (await client.delete("/api/account/totp")).status == 204
    assert (await client.delete("/api/account/totp")).status == 404
    assert (await (await new_browser(mina)).get("/api/account")).status == 200


async def test_the_secret_is_sealed_in_the_database_and_bound_to_its_person(
    app: web.Application, db: Database, add_someone: AddSomeone, clock: ManualClock
) -> None:
    rules = app[FACTOR_RULES]
    amara, elio = await _amara(add_someone), await add_someone("Elio", Role.PRACTITIONER)
    made = await second_factor.begin_totp(db, amara.actor.person_id, issuer="Row", rules=rules, now=clock())
    async with db.transaction() as session:
        row = await session.get(TotpSecret, amara.actor.person_id)
        assert row is not None
        assert made.secret.encode() not in row.sealed
        session.add(TotpSecret(person_id=elio.actor.person_id, sealed=row.sealed, created_at=clock(), last_step=0))
    with pytest.raises(Conflict):
        await second_factor.confirm_totp(db, elio.actor.person_id, "x", "000000", rules=rules, now=clock())


async def test_two_at_once_use_one_code_once(
    app: web.Application, db: Database, new_browser: NewBrowser, add_someone: AddSomeone, clock: ManualClock
) -> None:
    import asyncio

    amara = await _amara(add_someone)
    secret, _ = await _set_up(await new_browser(amara), clock)
    code = _code(secret, clock)
    taken = await asyncio.gather(
        *(second_factor.is_right(db, amara.actor.person_id, code, rules=app[FACTOR_RULES], now=clock()) for _ in "1234")
    )
    assert taken.count(True) == 1


async def test_a_passkey_that_proves_nothing_is_refused_and_its_challenge_is_used_up(
    new_browser: NewBrowser, add_someone: AddSomeone
) -> None:
    """The true ceremony is in tests/browser/test_second_factor.py."""
    browser = await new_browser(await _amara(add_someone))
    options = await browser.post("/api/account/passkeys/begin", {})
    assert options.status == 200
    assert options.body["rp"] == {"name": "Test Row", "id": "localhost"}
    body = {"name": "Key", "credential": {"id": "x", "rawId": "eA", "type": "public-key", "response": {}}}
    refused = await browser.post("/api/account/passkeys", body)
    assert (refused.status, refused.body["code"]) == (422, "passkey_wrong")
    again = await browser.post("/api/account/passkeys", body)
    assert (again.status, again.body["code"]) == (409, "ceremony_over")
