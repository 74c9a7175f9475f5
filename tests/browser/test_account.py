"""The account's pages in Chromium: another device is ended, a telephone number is proven, a role is given."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.journey import sign_in
from tests.browser.people import Server
from tests.helpers.axe import violations

pytestmark = pytest.mark.timeout(180)

MINA, CLARA, ELIO = "mina@example.com", "clara@lindenrow.example", "elio@lindenrow.example"


@pytest.fixture(autouse=True)
def loop_is_free() -> None:
    """The loop here drives a browser; the server's is in a process of its own."""


async def _signed_in(browser: Browser, server: Server, email: str) -> Page:
    page = await (await browser.new_context(base_url=server.url)).new_page()
    await sign_in(page, email)
    return page


async def test_a_device_is_ended_on_another_one(browser: Browser, server: Server) -> None:
    here, lost = [await _signed_in(browser, server, MINA) for _ in "ab"]
    await here.goto("/account/security")
    devices = here.locator("#devices")
    await expect(devices).to_contain_text("This device")
    await devices.get_by_role("button", name=re.compile("^Sign out Chrome")).press("Enter")
    await expect(devices.get_by_role("listitem")).to_have_count(1)
    await lost.goto("/account")
    await lost.wait_for_url(re.compile("/sign-in"))
    await here.reload()
    await expect(here.get_by_role("heading", name="Where you are signed in")).to_be_visible()


async def test_settings_are_saved_and_a_wrong_name_is_shown_at_its_field(browser: Browser, server: Server) -> None:
    page = await _signed_in(browser, server, MINA)
    await page.goto("/account")
    await page.get_by_label("Name").fill("\u200b")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator("#settings-error")).to_be_visible()
    await expect(page.get_by_label("Name")).to_be_focused()
    await page.get_by_label("Name").fill("Mina H")
    await page.get_by_label("Country").select_option("NO")
    await page.get_by_label("SMS", exact=False).first.uncheck()
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("Saved.")).to_be_visible()
    await expect(page.get_by_label("Name")).to_have_value("Mina H")
    await expect(page.get_by_label("Country")).to_have_value("NO")


async def test_a_number_is_proven_by_the_code_that_was_sent_to_it(browser: Browser, server: Server) -> None:
    page, admin = await _signed_in(browser, server, MINA), await _signed_in(browser, server, CLARA)
    await page.goto("/account")
    await page.get_by_label("Your number").fill("912 345 678")
    await page.get_by_role("button", name="Send me a code").click()
    await expect(page.locator("#phone-error")).to_contain_text("with its country")
    await page.get_by_label("Your number").fill("+351 912 345 678")
    await page.get_by_role("button", name="Send me a code").click()
    await expect(page.get_by_text("A code is on its way")).to_be_visible()
    await admin.goto("/admin/outbox")
    await admin.get_by_role("link", name=re.compile(r"to \+351912345678")).first.click()
    told = await admin.locator("article.letter").inner_text()
    code = re.search(r"\b[0-9]{6}\b", told)
    assert code is not None
    await page.get_by_label("The code from the SMS").fill(f"{(int(code[0]) + 1) % 1_000_000:06}")
    await page.get_by_role("button", name="This is my number").click()
    await expect(page.locator("#phone-code-error")).to_contain_text("not the code we sent")
    await page.get_by_label("The code from the SMS").fill(code[0])
    await page.get_by_role("button", name="This is my number").click()
    await expect(page.locator("#phone-part")).to_contain_text("+351912345678, proven")
    assert await violations(page) == []
    await page.get_by_role("button", name="Remove this number").click()
    await expect(page.locator("#phone-part")).to_contain_text("No number yet")


async def test_an_admin_gives_a_role_and_finds_it_in_the_audit_log(browser: Browser, server: Server) -> None:
    elio, admin = await _signed_in(browser, server, ELIO), await _signed_in(browser, server, CLARA)
    await admin.goto("/admin/people?q=elio")
    await admin.get_by_role("button", name="Change Elio Ferrante").press("Enter")
    dialog = admin.get_by_role("dialog", name="Elio Ferrante")
    await dialog.get_by_label("Support").check()
    await dialog.get_by_label("Practitioner").uncheck()
    await dialog.get_by_role("button", name="Save the roles").click()
    await expect(dialog).to_be_hidden()
    await expect(admin.get_by_role("row", name=re.compile("Elio"))).to_contain_text("Support")
    await elio.goto("/account")
    await elio.wait_for_url(re.compile("/sign-in"))
    await admin.goto("/admin/audit?action=person.roles")
    await expect(admin.get_by_role("row", name=re.compile("Roles changed"))).to_contain_text("after support")
    await admin.get_by_role("row", name=re.compile("Roles changed")).get_by_role("link").click()
    await expect(admin.get_by_role("row", name=re.compile("Roles changed"))).to_be_visible()
    assert await violations(admin) == []
