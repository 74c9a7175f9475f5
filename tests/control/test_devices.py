"""Where somebody is signed in: the list, ending a sign-in, a new password, and the bearer tokens of apps."""

from datetime import timedelta
from typing import Any

import pyotp
import pytest
from aiohttp.test_utils import TestServer

from control import accounts
from control.config import Settings
from control.database import Database
from control.models.people import LinkPurpose, Role
from control.web_sessions import APP_LIFETIME, TOKEN_PREFIX
from tests.helpers.browsers import PASSWORD, Answer, Browser, Someone, open_browser
from tests.helpers.clock import ManualClock
from tests.helpers.control import AddSomeone, NewBrowser

NEW_PASSWORD = "another long password"
IN_A_BROWSER_ONLY = (
    "/api/account/totp",
    "/api/account/passkeys/begin",
    "/api/account/recovery-codes",
    "/api/account/sign-out-everywhere",
)


@pytest.fixture
async def mina(add_someone: AddSomeone) -> Someone:
    return await add_someone("Mina", Role.CLIENT)


async def _devices(browser: Browser) -> list[dict[str, Any]]:
    answer = await browser.get("/api/account/devices")
    assert answer.status == 200, answer
    return list(answer.body["devices"])


async def _app(server: TestServer, token: str) -> Browser:
    """A program that has a token, and neither cookie nor Origin nor CSRF token."""
    app = await open_browser(server, "")
    app.csrf = "none"
    app.headers["Authorization"] = f"Bearer {token}"
    return app


async def _ask_for_token(server: TestServer, **body: Any) -> Answer:
    program = await open_browser(server, "")
    program.csrf = "none"
    answer = await program.post("/api/tokens", body)
    await program.client.session.close()
    return answer


async def test_the_list_shows_browsers_and_apps_and_marks_this_one(
    server: TestServer, new_browser: NewBrowser, mina: Someone
) -> None:
    here, _ = await new_browser(mina), await new_browser(mina)
    made = await _ask_for_token(server, email=mina.email, password=PASSWORD, name="Calendar")
    found = await _devices(here)
    assert sorted((one["kind"], one["this_one"]) for one in found) == [
        ("app", False),
        ("browser", False),
        ("browser", True),
    ]
    assert [one["id"] for one in found if one["name"] == "Calendar"] == [made.body["id"]]


async def test_an_ended_device_is_signed_out_and_this_one_is_not(new_browser: NewBrowser, mina: Someone) -> None:
    here, lost = await new_browser(mina), await new_browser(mina)
    there = next(one["id"] for one in await _devices(here) if not one["this_one"])
    for _ in "again":
        assert (await here.delete(f"/api/account/devices/{there}")).status == 204
    assert (await lost.get("/api/account")).status == 401
    assert [one["this_one"] for one in await _devices(here)] == [True]


async def test_nobody_else_sees_or_ends_a_device(
    new_browser: NewBrowser, add_someone: AddSomeone, mina: Someone
) -> None:
    owner = await new_browser(mina)
    own = (await _devices(owner))[0]["id"]
    for other in (await add_someone("Charlie", Role.CLIENT), await add_someone("Dana", Role.ADMIN)):
        stranger = await new_browser(other)
        assert own not in [one["id"] for one in await _devices(stranger)]
        assert (await stranger.delete(f"/api/account/devices/{own}")).status == 404
    nobody = await new_browser()
    assert (await nobody.get("/api/account/devices")).status == 401
    assert (await nobody.delete(f"/api/account/devices/{own}")).status == 401
    assert (await owner.delete("/api/account/devices/mine")).status == 404
    assert [one["id"] for one in await _devices(owner)] == [own]


async def test_signing_out_everywhere_else_leaves_only_this_browser(
    server: TestServer, new_browser: NewBrowser, mina: Someone, add_someone: AddSomeone
) -> None:
    stranger = await new_browser(await add_someone("Charlie", Role.CLIENT))
    here, there = await new_browser(mina), await new_browser(mina)
    token = (await _ask_for_token(server, email=mina.email, password=PASSWORD)).body["token"]
    app = await _app(server, token)
    assert (await here.post("/api/account/sign-out-everywhere")).body == {"ended": 2}
    assert [(await one.get("/api/account")).status for one in (here, there, app, stranger)] == [200, 401, 401, 200]
    await app.client.session.close()


async def test_a_new_password_is_the_one_that_works_and_signs_the_others_out(
    new_browser: NewBrowser, mina: Someone
) -> None:
    here, there = await new_browser(mina), await new_browser(mina)
    assert (await (await new_browser()).post("/api/account/password", {"password": NEW_PASSWORD})).status == 401
    assert (await here.post("/api/account/password", {"password": "too short"})).status == 422
    assert (await there.get("/api/account")).status == 200
    assert (await here.post("/api/account/password", {"password": NEW_PASSWORD})).status == 204
    assert [(await one.get("/api/account")).status for one in (here, there)] == [200, 401]
    stranger = await new_browser()
    assert (await stranger.sign_in(mina.email, PASSWORD)).status == 403
    assert (await stranger.sign_in(mina.email, NEW_PASSWORD)).status == 200


# -- apps --------------------------------------------------------------------------------------------------------


async def test_an_app_gets_a_token_by_password_and_writes_with_it_without_cookie_or_origin(
    server: TestServer, mina: Someone, clock: ManualClock
) -> None:
    made = await _ask_for_token(server, email=mina.email, password=PASSWORD, name="Calendar")
    assert made.status == 201
    assert made.body["token"].startswith(TOKEN_PREFIX)
    app = await _app(server, made.body["token"])
    changed = await app.send("PATCH", "/api/account", {"name": "Mina H"}, Origin="")
    assert (changed.status, changed.body["name"]) == (200, "Mina H")
    clock.now += APP_LIFETIME
    assert (await app.get("/api/account")).code == "token_invalid"
    await app.client.session.close()


async def test_an_app_gets_a_token_by_a_one_time_link_once(
    server: TestServer, db: Database, mina: Someone, clock: ManualClock
) -> None:
    async with db.transaction() as session:
        link = await accounts.issue_link(session, mina.actor.person_id, LinkPurpose.SIGN_IN, now=clock())
    assert (await _ask_for_token(server, link=link)).status == 201
    again = await _ask_for_token(server, link=link)
    assert (again.status, again.code) == (409, "link_used_or_expired")


async def test_wrong_and_unknown_credentials_get_the_same_answer_and_no_token(
    server: TestServer, new_browser: NewBrowser, mina: Someone
) -> None:
    wrong = await _ask_for_token(server, email=mina.email, password="not the password")
    unknown = await _ask_for_token(server, email="nobody@example.com", password="not the password")
    assert (wrong.status, wrong.code) == (unknown.status, unknown.code) == (403, "sign_in_refused")
    assert [one["kind"] for one in await _devices(await new_browser(mina))] == ["browser"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "mina@example.com"},
        {"password": PASSWORD},
        {"email": "mina@example.com", "password": PASSWORD, "link": "x"},
        {"email": "mina@example.com", "password": PASSWORD, "role": "admin"},
        {"email": "mina@example.com", "password": PASSWORD, "name": ""},
    ],
)
async def test_a_half_or_odd_request_for_a_token_is_refused(
    server: TestServer, mina: Someone, body: dict[str, Any]
) -> None:
    assert (await _ask_for_token(server, **body)).status == 422


async def test_a_page_elsewhere_gets_no_token(new_browser: NewBrowser, mina: Someone) -> None:
    browser = await new_browser()
    body = {"email": mina.email, "password": PASSWORD}
    refused = await browser.post("/api/tokens", body, Origin="https://evil.example")
    assert (refused.status, refused.code) == (403, "origin_wrong")


async def test_tries_for_a_token_are_counted_with_those_of_the_sign_in(
    server: TestServer, new_browser: NewBrowser, mina: Someone
) -> None:
    for _ in range(10):
        await _ask_for_token(server, email=mina.email, password="not the password")
    assert (await _ask_for_token(server, email=mina.email, password=PASSWORD)).status == 429
    assert (await (await new_browser()).sign_in(mina.email)).status == 429


async def test_a_token_changes_nothing_about_how_its_person_signs_in(
    server: TestServer, new_browser: NewBrowser, mina: Someone
) -> None:
    token = (await _ask_for_token(server, email=mina.email, password=PASSWORD)).body["token"]
    app = await _app(server, token)
    for path in IN_A_BROWSER_ONLY:
        assert (await app.post(path, {})).code == "browser_only", path
    assert (await app.post("/api/account/password", {"password": NEW_PASSWORD})).code == "browser_only"
    assert (await app.delete("/api/account/totp")).code == "browser_only"
    assert (await (await new_browser()).sign_in(mina.email)).status == 200
    await app.client.session.close()


async def test_a_revoked_an_unknown_and_a_cookies_token_are_refused(
    server: TestServer, new_browser: NewBrowser, mina: Someone
) -> None:
    made = (await _ask_for_token(server, email=mina.email, password=PASSWORD)).body
    app, browser = await _app(server, made["token"]), await new_browser(mina)
    assert (await browser.delete(f"/api/account/devices/{made['id']}")).status == 204
    cookie = next(one.value for one in browser.client.session.cookie_jar if one.key == "holdspace")
    for token in (made["token"], "nonsense", "", cookie, "ü".encode().decode("latin-1")):
        app.headers["Authorization"] = f"Bearer {token}"
        assert (await app.get("/api/account")).code == "token_invalid", token
    app.headers = {"Cookie": f"holdspace={made['token']}"}
    assert (await app.get("/api/account")).status == 401
    await app.client.session.close()


class TestWithASecondStep:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"security": settings.security.model_copy(update={"second_factor": True})})

    async def test_staff_need_a_code_for_a_token_and_each_code_makes_one(
        self, server: TestServer, new_browser: NewBrowser, add_someone: AddSomeone, clock: ManualClock
    ) -> None:
        amara = await add_someone("Amara", Role.PRACTITIONER)
        credentials = {"email": amara.email, "password": PASSWORD}
        assert (await _ask_for_token(server, **credentials)).code == "second_factor_missing"
        browser = await new_browser(amara)
        secret = (await browser.post("/api/account/totp", {})).body["secret"]
        await browser.post("/api/account/totp/confirm", {"code": pyotp.TOTP(secret).at(clock())})
        clock.now += timedelta(minutes=1)
        code = pyotp.TOTP(secret).at(clock())
        assert (await _ask_for_token(server, **credentials)).code == "second_factor_required"
        wrong = "000000" if code != "000000" else "111111"
        assert (await _ask_for_token(server, **credentials, code=wrong)).code == "code_wrong"
        made = await _ask_for_token(server, **credentials, code=code)
        assert made.status == 201
        assert (await _ask_for_token(server, **credentials, code=code)).code == "code_wrong"
        app = await _app(server, made.body["token"])
        assert (await app.get("/api/account")).status == 200
        await app.client.session.close()

    async def test_a_token_made_before_the_second_step_was_set_up_ends_with_it(
        self, server: TestServer, new_browser: NewBrowser, mina: Someone, clock: ManualClock
    ) -> None:
        app = await _app(server, (await _ask_for_token(server, email=mina.email, password=PASSWORD)).body["token"])
        assert (await app.get("/api/account")).status == 200
        browser = await new_browser(mina)
        secret = (await browser.post("/api/account/totp", {})).body["secret"]
        await browser.post("/api/account/totp/confirm", {"code": pyotp.TOTP(secret).at(clock())})
        assert (await app.get("/api/account")).code == "token_invalid"
        await app.client.session.close()
