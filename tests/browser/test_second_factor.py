"""The second step in Chromium: an invited practitioner sets up an app, then a passkey, and signs in with each."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.journey import sign_in, until
from tests.browser.people import Server
from tests.helpers.axe import violations

pytestmark = pytest.mark.timeout(180)

NOOR = "noor@example.com"
PASSWORD = "a sentence to remember"
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture(autouse=True)
def loop_is_free() -> None:
    """The loop here drives a browser; the server's is in a process of its own."""


async def _page(browser: Browser, server: Server, errors: list[str]) -> Page:
    context = await browser.new_context(base_url=server.url)
    page = await context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    return page


async def _invite(admin: Page) -> str:
    """Clara invites Noor; the path of the link she is sent."""
    await sign_in(admin, "clara@lindenrow.example")
    await admin.goto("/admin/people")
    await admin.get_by_role("button", name="Invite").click()
    dialog = admin.get_by_role("dialog", name="Invite somebody")
    await dialog.get_by_label("Name").fill("Noor Haddad")
    await dialog.get_by_label("E-mail").fill(NOOR)
    await dialog.get_by_role("button", name="Send the invitation").click()
    await expect(admin.get_by_role("row", name=re.compile("Noor Haddad"))).to_contain_text("Invited, not here yet")
    for _ in range(100):
        letters: list[dict[str, Any]] = (await (await admin.request.get("/api/outbox")).json())["letters"]
        found = re.search(r"/sign-in/link/\S+", next(one["text"] or "" for one in letters if one["to"] == NOOR))
        if found is not None:
            return found.group(0)
        await admin.wait_for_timeout(50)
    raise AssertionError("the invitation was not written")


def _code(secret: str, periods: int = 0) -> str:
    return pyotp.TOTP(secret).at(datetime.now(UTC) + timedelta(seconds=30 * periods))


async def _set_up_app(page: Page) -> tuple[str, list[str]]:
    await page.get_by_role("button", name="Set up an app").click()
    await until(page, "document.getElementById('totp-qr').naturalWidth > 100")
    secret = (await page.locator("#totp-secret").inner_text()).replace(" ", "")
    await page.get_by_label("The code it shows now").fill(_code(secret, periods=-20))
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.locator("#totp-confirm-error")).to_contain_text("This code is not right")
    await page.get_by_label("The code it shows now").fill(_code(secret))
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.locator("#codes-title")).to_be_focused()
    codes = await page.locator("#codes-list code").all_inner_texts()
    assert len(codes) == 10
    await page.get_by_role("link", name="I have kept them").click()
    return secret, codes


async def _first_step(page: Page) -> None:
    await page.goto("/account")
    await page.get_by_role("button", name="Sign out on this device").click()
    await page.wait_for_url(lambda url: "/account" not in url)
    await page.goto("/sign-in?next=/account")
    await page.get_by_label("E-mail", exact=True).fill(NOOR)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("heading", name="One more step")).to_be_visible()


async def _give(page: Page, code: str) -> None:
    await page.get_by_label("Code").fill(code)
    await page.get_by_role("button", name="Go on").click()


async def test_an_invited_practitioner_signs_in_with_an_app_a_recovery_code_and_a_passkey(
    browser: Browser, server: Server
) -> None:
    errors: list[str] = []
    admin, page = [await _page(browser, server, errors) for _ in "ab"]
    devices = await page.context.new_cdp_session(page)
    await devices.send("WebAuthn.enable")
    await devices.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})

    await page.goto(await _invite(admin))
    await page.get_by_role("button", name="Sign me in").click()
    await expect(page.get_by_role("heading", name="Protect your account")).to_be_visible()
    await page.goto("/therapist/dashboard")  # nothing else is open yet
    await expect(page.get_by_role("heading", name="Protect your account")).to_be_visible()
    secret, codes = await _set_up_app(page)
    await page.wait_for_url(re.compile("/therapist/dashboard"))
    await page.goto("/account/security")
    await page.get_by_label("New password").fill(PASSWORD)
    await page.get_by_role("button", name="Save the password").click()
    await expect(page.get_by_text("Your password is set.")).to_be_visible()

    await _first_step(page)
    await _give(page, codes[0] + "x")
    await expect(page.locator("#code-error")).to_contain_text("This code is not right")
    await _give(page, codes[0])
    await page.wait_for_url(re.compile("/account$"))
    await _first_step(page)
    await _give(page, _code(secret, periods=1))
    await page.wait_for_url(re.compile("/account$"))

    await page.goto("/account/security")
    await page.get_by_label("A name for it").fill("Noor's laptop")
    await page.get_by_role("button", name="Add a passkey").click()
    await expect(page.locator("#factors")).to_contain_text("Noor's laptop")
    await _first_step(page)
    await page.get_by_role("button", name="Use my passkey").click()
    await page.wait_for_url(re.compile("/account$"))
    await page.goto("/account/security")
    await expect(page.locator("#factors")).to_contain_text("9 codes left")
    await page.get_by_role("button", name="Remove Noor's laptop").click()
    await expect(page.locator("#factors")).not_to_contain_text("Noor's laptop")
    await page.get_by_role("button", name="Remove the authenticator app").click()
    await expect(page.locator("#totp-remove-error")).to_contain_text("Your role needs a second step")
    assert await violations(page) == []

    assert [error for error in errors if not error.startswith("Failed to load resource")] == []
