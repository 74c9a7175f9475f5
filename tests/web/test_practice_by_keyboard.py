"""What practitioners and admins do all day, in Chromium and by the keyboard alone: no pointer, no focus set by a test.

Each journey goes from the page's top by Tab, skips what the skip link skips, and says what became of it. The practice
is the demo's after a week of work (tests/helpers/lived_in.py); its clocks are real, so nothing here waits for a time.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.journey import PASSWORDS
from tests.browser.people import Server, running_server
from tests.helpers.lived_in import lived_in
from tests.web.all_pages import opened
from tests.web.test_in_browser import loop_is_free

__all__ = ["loop_is_free"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

MOST_TABS = 120  # past the last control it begins again with the first
#: A field's label, or what a link, button or summary says; nothing while no control has the focus.
NAME_OF_FOCUSED = """
  [document.activeElement].filter((one) => one.matches('a, button, input, select, textarea, summary'))
    .map((one) => (one.labels?.length ? [...one.labels] : [one]).map((part) => part.textContent).join(' ')).join('')
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder: Path = tmp_path_factory.mktemp("lived-in")
    await lived_in(folder)
    async with running_server(folder) as started:
        yield started


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until a control whose name begins so has the focus."""
    passed = []
    for _ in range(MOST_TABS):
        await page.keyboard.press("Tab")
        passed.append(" ".join(str(await page.evaluate(NAME_OF_FOCUSED)).split()))
        if passed[-1].startswith(name):
            return
    raise AssertionError(f"Tab does not lead to “{name}” but past {passed}")


async def press(page: Page, name: str, key: str = "Enter") -> None:
    await tab_to(page, name)
    await page.keyboard.press(key)


async def write(page: Page, name: str, text: str) -> None:
    """In place of what stands in that field."""
    await tab_to(page, name)
    await page.keyboard.press("Control+a")
    await page.keyboard.type(text)


async def told(page: Page, words: str) -> None:
    """The toast of the page that has been opened meanwhile."""
    await expect(page.locator("#toasts")).to_contain_text(words)


async def open_main(page: Page, path: str) -> None:
    """A page, and past its navigation by the skip link."""
    await page.goto(path)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile("#main$"))


async def sign_in(page: Page, email: str) -> None:
    await page.goto("/sign-in")
    await write(page, "E-mail", email)
    await write(page, "Password", PASSWORDS[email])
    await page.keyboard.press("Enter")
    await page.wait_for_url(lambda url: "/sign-in" not in url)


async def test_admin_invites_somebody_and_changes_their_roles(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as page:
        await sign_in(page, "clara@lindenrow.example")
        await press(page, "People")
        await page.wait_for_url("**/admin/people")
        await press(page, "Invite")
        dialog = page.get_by_role("dialog", name="Invite somebody")
        await expect(dialog).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await expect(page.get_by_role("button", name="Invite", exact=True)).to_be_focused()
        await page.keyboard.press("Enter")
        await write(page, "Name", "Noor Haddad")
        await write(page, "E-mail", "mina@example.com")
        await page.keyboard.press("Enter")
        await expect(page.locator("#invite-error")).to_contain_text("already")
        await write(page, "E-mail", "noor@example.com")
        await press(page, "Support", "Space")
        await press(page, "Send the invitation")
        await told(page, "A link is on its way")
        await write(page, "Search by name or e-mail", "noor")
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile("q=noor"))
        row = page.get_by_role("row", name=re.compile("Noor Haddad"))
        roles, since = row.get_by_role("cell").nth(1), row.get_by_role("cell").nth(3)
        await expect(roles).to_have_text("Practitioner, support")
        await expect(since).to_have_text("Invited, not here yet")
        await press(page, "Change Noor Haddad")
        await press(page, "Practitioner", "Space")
        await press(page, "Save the roles")
        await told(page, "Saved.")
        await expect(roles).to_have_text("Support")
        await expect(page.get_by_role("button", name="Change Noor Haddad")).to_be_focused()
        await press(page, "Change Noor Haddad")
        await press(page, "Send the invitation again")
        await told(page, "A new link is on its way")


async def test_admin_explains_activates_and_cancels_an_appointment(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as page:
        await sign_in(page, "clara@lindenrow.example")
        await press(page, "To come")
        await page.wait_for_url(re.compile("show=upcoming"))
        await press(page, "CSV file of this list", "Tab")
        await page.keyboard.press("Enter")
        explained = page.get_by_role("complementary", name="Can't be joined yet")
        await expect(explained).to_contain_text("The room opens at")
        await tab_to(page, "Activate")
        await page.keyboard.press("Enter")
        await told(page, "Activated. The practitioner is told.")
        await expect(explained).to_contain_text("Activated, by staff")
        await press(page, "Cancel and refund")
        await expect(page.get_by_role("dialog", name="Cancel this session?")).to_contain_text("€65.00")
        await write(page, "Reason, if you like to say", "The house is closed")
        await press(page, "Cancel the session")
        await told(page, "Cancelled. The client and the practitioner are told.")
        explained = page.get_by_role("complementary", name="Cancelled")
        await expect(explained).to_contain_text("Cancelled, by staff")
        await expect(explained).to_contain_text("Refunded")


async def test_admin_looks_at_a_short_session_writes_a_payout_down_and_declines(
    browser: Browser, server: Server
) -> None:
    async with opened(browser, server) as page:
        await sign_in(page, "clara@lindenrow.example")
        await open_main(page, "/admin/payouts")
        await press(page, "It may be paid")
        await told(page, "It can be paid now.")
        await expect(page.get_by_text("Together for less than half")).to_have_count(0)
        await press(page, "Write down a payout to Dr. Amara Okafor")
        await write(page, "Amount in EUR", "100000")
        await write(page, "Reference", "SEPA 2026-11")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
        await write(page, "Amount in EUR", "50")
        await press(page, "Write it down")
        await told(page, "Written down.")
        await expect(page.get_by_role("row", name=re.compile("SEPA 2026-11"))).to_contain_text("€50.00")
        await open_main(page, "/admin/refunds")
        await press(page, "Decline Mina Halvorsen")
        await write(page, "What shall we answer?", "We have offered another session.")
        await press(page, "Decline")
        await told(page, "Declined.")
        await expect(page.get_by_text("Answer: We have offered another session.")).to_be_visible()


async def test_admin_sends_a_dead_letter_again_and_reads_log_settings_and_status(
    browser: Browser, server: Server
) -> None:
    async with opened(browser, server) as page:
        await sign_in(page, "clara@lindenrow.example")
        await open_main(page, "/admin/outbox")
        await tab_to(page, "State")
        await page.keyboard.type("Given")
        await press(page, "Show")
        await page.wait_for_url(re.compile("state=dead"))
        await press(page, "Your session is booked")
        await expect(page.get_by_text("The mailbox is not there")).to_be_visible()
        await press(page, "Try again")
        await told(page, "It is tried again.")
        await expect(page.get_by_text("The mailbox is not there")).to_have_count(0)
        await open_main(page, "/admin/audit")
        await write(page, "What was done begins with", "outbox.retried")
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile("action=outbox"))
        await expect(page.get_by_role("row", name=re.compile("Clara Duarte"))).to_have_count(1)
        await press(page, "Clear")
        await page.wait_for_url("**/admin/audit")
        await press(page, "Settings")
        await expect(page.get_by_role("heading", name="Settings", level=1)).to_be_visible()
        await press(page, "Status")
        await expect(page.get_by_role("row", name=re.compile("Letters given up"))).to_contain_text("Fine")


async def test_practitioner_keeps_a_note_in_a_clients_file(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as page:
        await sign_in(page, "amara@lindenrow.example")
        await press(page, "Clients")
        await page.wait_for_url("**/therapist/clients")
        await write(page, "Search by name", "nobody of that name")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Nobody found")).to_be_visible()
        await press(page, "Clear")
        await page.wait_for_url("**/therapist/clients")
        await press(page, "Mina Halvorsen")
        await page.wait_for_url(re.compile("/therapist/clients/[0-9a-f]"))
        await write(page, "A new note", "Sleeps better since Monday.")
        await press(page, "Keep this note")
        await told(page, "Kept.")
        note = page.get_by_role("article", name=re.compile("Note of"))
        await expect(note).to_contain_text("Sleeps better since Monday.")
        await press(page, "Change or delete")
        await write(page, "Text", "Sleeps well.")
        await press(page, "Keep the change")
        await told(page, "Changed.")
        await expect(note.locator(".note__text")).to_have_text("Sleeps well.")
        await press(page, "Change or delete")
        await press(page, "Delete this note")
        await press(page, "Delete")
        await told(page, "Deleted.")
        await expect(note).to_have_count(0)


async def test_practitioner_changes_services_policy_profile_and_packages(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as page:
        await sign_in(page, "elio@lindenrow.example")
        await open_main(page, "/therapist/services")
        await press(page, "Add a service")
        await write(page, "Name", "Long walk")
        await tab_to(page, "How you meet")
        await page.keyboard.press("ArrowDown")
        await write(page, "Length, minutes", "90")
        await write(page, "Price", "75.00")
        await press(page, "Add this service")
        await told(page, "Added.")
        added = page.locator("details", has_text="Long walk").locator("summary")
        await expect(added).to_contain_text("€75.00")
        await press(page, "Long walk")
        await write(page, "Price", "80.00")
        await press(page, "Save Long walk")
        await told(page, "Saved.")
        await expect(added).to_contain_text("€80.00")
        await write(page, "Kept when late, % of the price", "30")
        await press(page, "Save the policy")
        await told(page, "Saved, for bookings from now on.")
        await expect(page.get_by_text(re.compile("Clients read: .*30 ?%"))).to_be_visible()
        await open_main(page, "/therapist/profile")
        await write(page, "In one line", "Breath, slowly")
        await press(page, "Save the profile")
        await told(page, "Saved.")
        await expect(page.get_by_label("In one line")).to_have_value("Breath, slowly")
        await write(page, "Title", "What we agree on")
        await press(page, "Publish as a new version")
        await told(page, "Published as a new version.")
        await expect(page.get_by_text("Version 2.")).to_be_visible()
        await open_main(page, "/therapist/earnings")
        await write(page, "Price of 5 sessions Long walk", "350")
        await page.keyboard.press("Enter")
        await told(page, "Offered.")
        await expect(page.get_by_text("On offer for €350.00")).to_be_visible()
        await press(page, "Stop offering 5 sessions Long walk")
        await told(page, "Not on offer any more.")
        await expect(page.get_by_text("On offer for")).to_have_count(0)


async def test_session_is_moved_by_both_sides_and_cancelled(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as mina, opened(browser, server) as amara:
        await sign_in(mina, "mina@example.com")
        await open_main(mina, "/sessions")
        await press(mina, "15:00 with Dr. Amara Okafor")
        await mina.wait_for_url(re.compile("/sessions/[0-9a-f]"))
        before = await mina.get_by_role("heading", level=1).inner_text()
        await press(mina, "Propose another time")
        times = mina.locator("#move-times")
        await expect(times.get_by_role("radio")).not_to_have_count(0)
        await tab_to(mina, "Day")
        await mina.keyboard.press("ArrowDown")
        await mina.keyboard.press("Tab")
        await mina.keyboard.press("Space")
        await expect(times.get_by_role("radio").first).to_be_checked()
        await write(mina, "A word about why", "I am travelling that day")
        await mina.keyboard.press("Enter")
        await expect(mina.get_by_text("You have asked to move this session.")).to_be_visible()
        await sign_in(amara, "amara@lindenrow.example")
        await press(amara, "Answer")
        await amara.wait_for_url(re.compile("/sessions/[0-9a-f]"))
        await expect(amara.get_by_text("I am travelling that day")).to_be_visible()
        await press(amara, "Accept the new time")
        await told(amara, "Moved. Both calendars are told.")
        await expect(mina.get_by_text("You have asked to move this session.")).to_have_count(0)
        await expect(mina.get_by_role("heading", level=1)).not_to_have_text(before)
        await open_main(amara, "/therapist/sessions")
        await write(amara, "Client, service or number", "Mina")
        await amara.keyboard.press("Enter")
        await amara.wait_for_url(re.compile("q=Mina"))
        await press(amara, "Details of Mina Halvorsen")
        await amara.wait_for_url(re.compile("/sessions/[0-9a-f]"))
        await press(amara, "Cancel this session")
        await write(amara, "Reason, if you like to say", "I am ill")
        await amara.keyboard.press("Enter")
        await told(amara, "Cancelled. Both of you are told.")
        await expect(amara.locator("#one-session .badge").first).to_have_text("Cancelled")
