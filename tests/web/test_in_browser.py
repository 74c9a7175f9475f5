"""The pages in Chromium, on the server that `make run` starts: accessible, narrow, by keyboard, pressed twice."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request, Route, expect

from control.language import read_catalog
from tests.browser.journey import book_soonest, sign_in
from tests.browser.people import Server, running_server
from tests.web.all_pages import each_page, opened, practice_in_use

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"


@pytest.fixture(autouse=True)
def loop_is_free() -> None:
    """The loop here drives a browser; the server's is in a process of its own."""


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as started:
        yield started


ENGLISH_AND_GERMAN = '["en-GB", "de"]'

# What pages say themselves, also in places not shown yet. Lists of notices and letters, and the settings' values,
# are as they were written then.
SAID = """() => {
  const said = [];
  const texts = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { parentElement, data } = texts.currentNode;
    if (!parentElement.closest('script, style, code, .inbox, .settings')) said.push(data.replace(/\\s+/g, ' ').trim());
  }
  for (const name of ['aria-label', 'placeholder', 'title', 'alt', 'data-busy', 'data-toast'])
    for (const one of document.querySelectorAll(`[${name}]`)) said.push(one.getAttribute(name));
  return said;
}"""
NAMES_IN_THE_DEMO = {"Discovery call"}


@pytest_asyncio.fixture
async def server_in_both(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path, PRACTICE__LANGUAGES=ENGLISH_AND_GERMAN) as started:
        yield started


def _left_in_english() -> set[str]:
    """Sentences that have a German of their own: no page in German may say one."""
    pairs = [(str(one.id), str(one.string)) for one in read_catalog("de") if isinstance(one.id, str) and one.id]
    return {english.strip() for english, german in pairs if english.strip() != german.strip()} - NAMES_IN_THE_DEMO


@pytest.mark.timeout(600)  # some eighty pages
@pytest.mark.parametrize(("scheme", "width", "language"), [("light", 1440, "en-GB"), ("dark", 390, "de")])
async def test_axe_finds_nothing_on_any_page_none_scrolls_sideways_and_german_ones_are_german(
    browser: Browser, server_in_both: Server, scheme: Any, width: int, language: str
) -> None:
    source, server = AXE.read_text(encoding="utf-8"), server_in_both
    foreign = _left_in_english() if language == "de" else set()
    ids = await practice_in_use(browser, server)
    found: dict[str, list[str]] = {}
    async with AsyncExitStack() as stack:
        options: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
        async for name, page in each_page(stack, browser, server, ids, language, **options):
            await page.evaluate(source)
            result = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            broken = [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in result["violations"]]
            broken += [f"not in German: {words}" for words in await page.evaluate(SAID) if words in foreign]
            for screen in (width, 320):
                await page.set_viewport_size({"width": screen, "height": 900})
                if (wide := await page.evaluate("document.documentElement.scrollWidth")) > screen:
                    broken.append(f"{wide} px wide on a screen of {screen}")
            await page.set_viewport_size({"width": width, "height": 900})
            if broken:
                found[name] = broken
    assert found == {}, json.dumps(found, indent=1)


async def test_keyboard_alone_leads_from_the_directory_to_the_waiting_room(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as page:
        await sign_in(page, "mina@example.com")
        await page.goto("/practitioners?q=amara")
        await _tab_to(page, "Dr. Amara Okafor")
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile("/practitioners/[0-9a-f]"))
        await expect(page.locator("#booker")).not_to_have_attribute("aria-busy", "true")
        await _tab_to(page, "Short check-in", most=30)
        await page.keyboard.press("ArrowUp")
        await expect(page.get_by_role("radio", name=re.compile("Discovery call"))).to_be_checked()
        await page.keyboard.press("ArrowDown")
        await expect(page.get_by_role("radio", name=re.compile("Short check-in"))).to_be_checked()
        await expect(page.locator("#booker")).not_to_have_attribute("aria-busy", "true")
        await page.locator("#slots .slot").first.focus()
        await page.keyboard.press("Enter")
        await _tab_to(page, "Continue to details", most=40)
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile("appointment="))
        await _tab_to(page, "I accept these terms")
        await page.keyboard.press("Space")
        await _tab_to(page, "Continue to pay")
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile("step=pay"))
        await _tab_to(page, "Pay €15.00")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()
        await _tab_to(page, "Read the consent text now")
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile("/consent$"))
        await _tab_to(page, "I agree")
        await page.keyboard.press("Space")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile("/recording-consent$"))
        await _tab_to(page, "No, please don't")
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile("/waiting-room$"))
        await _tab_to(page, "Play a sound")


# Of a control only: the whole page has the focus while the one that had it is disabled, and holds every name.
NAME_OF_FOCUSED = """
  [document.activeElement].filter((one) => one.matches('a, button, input, select, textarea, summary'))
    .flatMap((one) => [one, ...(one.labels || [])]).map((one) => one.textContent).join(' ')
"""


async def _tab_to(page: Page, name: str, most: int = 25) -> None:
    """Press Tab until the control of that name has the focus."""
    for _ in range(most):
        await page.keyboard.press("Tab")
        if name in await page.evaluate(NAME_OF_FOCUSED):
            return
    raise AssertionError(f"Tab does not lead to “{name}”")


async def test_pressing_twice_pays_once(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as page:
        await sign_in(page, "mina@example.com")
        appointment = await _held(page)
        sent: list[Request] = []
        page.on("request", lambda request: sent.append(request) if request.url.endswith("/payment") else None)
        await page.goto(f"{page.url}&step=pay&terms=yes")
        await page.get_by_role("button", name="Pay €15.00").dblclick()
        await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()
        assert len(sent) == 1
        assert sent[0].headers["idempotency-key"]
        wallet = await (await page.request.get("/api/wallet")).json()
        assert "38500" in json.dumps(wallet)
        assert appointment in page.url


async def _held(page: Page) -> str:
    """A hold on the soonest short session; ends on its details."""
    await page.goto("/practitioners?q=amara")
    await page.get_by_role("link", name="Dr. Amara Okafor").click()
    await page.wait_for_url(re.compile("/practitioners/[0-9a-f]"))
    await expect(page.locator("#booker")).not_to_have_attribute("aria-busy", "true")
    await page.get_by_text("Short check-in").first.click()
    await expect(page.locator("#day-count")).to_contain_text("time")
    await page.locator("#slots .slot").first.click()
    await page.get_by_role("button", name="Continue to details").click()
    await page.wait_for_url(re.compile("appointment="))
    return page.url.rsplit("=", 1)[1]


async def test_taken_time_offers_the_nearest_free_ones(browser: Browser, server: Server) -> None:
    nearest: list[str] = []

    async def somebody_was_faster(route: Route) -> None:
        problem = {
            "status": 409,
            "code": "slot_taken",
            "detail": "Somebody has just taken this time.",
            "nearest_free_slots": [{"start": start} for start in nearest],
        }
        await route.fulfill(status=409, content_type="application/problem+json", body=json.dumps(problem))

    async with opened(browser, server) as page:
        await sign_in(page, "mina@example.com")
        await page.goto("/practitioners?q=amara")
        await page.get_by_role("link", name="Dr. Amara Okafor").click()
        await expect(page.locator("#booker")).not_to_have_attribute("aria-busy", "true")
        await page.get_by_text("Individual session").first.click()
        await expect(page.locator("#booker")).not_to_have_attribute("aria-busy", "true")
        starts = await page.locator("#slots .slot").evaluate_all("(all) => all.map((one) => one.dataset.start)")
        nearest += starts[1:3]
        await page.route("**/sessions/book", somebody_was_faster)
        await page.locator("#slots .slot").first.click()
        await page.get_by_role("button", name="Continue to details").click()
        await expect(page.locator("#problem")).to_contain_text("Somebody has just taken this time.")
        await page.locator("#problem .slot").first.click()
        await expect(page.locator(f"#slots [data-start='{nearest[0]}']")).to_have_attribute("aria-pressed", "true")
        await page.unroute("**/sessions/book")
        await page.get_by_role("button", name="Continue to details").click()
        await page.wait_for_url(re.compile("appointment="))


async def test_lost_connection_is_said_and_the_next_try_is_the_same_attempt(browser: Browser, server: Server) -> None:
    keys: list[str] = []

    async def lost(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        await route.abort("connectionfailed")

    async with opened(browser, server) as page:
        await sign_in(page, "mina@example.com")
        await _held(page)
        await page.goto(f"{page.url}&step=pay&terms=yes")
        await page.route("**/payment", lost)
        pay = page.get_by_role("button", name="Pay €15.00")
        await pay.click()
        await expect(page.locator("#pay-error")).to_contain_text("We can't reach the server")
        await page.unroute("**/payment")
        async with page.expect_request("**/payment") as sent:
            await pay.click()
        assert (await sent.value).headers["idempotency-key"] == keys[0]
        await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()


async def test_window_is_opened_and_closed_without_leaving_the_page(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as page:
        await sign_in(page, "elio@lindenrow.example")
        await page.goto("/therapist/availability?week=2027-01-04")
        form = page.locator("#open-time")
        await form.get_by_label("Day").fill("2027-01-05")
        await form.get_by_label("From").fill("09:00")
        await form.get_by_label("To", exact=True).fill("08:00")
        await form.get_by_role("button", name="Open this time").click()
        await expect(page.locator("#open-error")).to_be_visible()
        await form.get_by_label("To", exact=True).fill("11:00")
        await form.get_by_role("button", name="Open this time").click()
        await expect(page.locator("#window-list")).to_contain_text("09:00 to 11:00")
        await expect(page.locator("#week .block").first).to_be_visible()
        await page.get_by_role("button", name=re.compile("^Delete")).click()
        await page.get_by_role("button", name="Close this time").click()
        await expect(page.locator("#window-list")).to_contain_text("No single times are open this week")


async def test_weekly_hours_are_added_a_slot_taken_off_and_offered_again_by_keyboard(
    browser: Browser, server: Server
) -> None:
    async with opened(browser, server) as page:
        await sign_in(page, "elio@lindenrow.example")
        await page.goto("/therapist/availability?week=2027-01-04")
        await page.get_by_role("button", name="Add weekly hours").focus()
        await page.keyboard.press("Enter")
        rule = page.get_by_role("dialog", name="Open every week")
        await expect(rule).to_be_visible()
        for day in ("Monday", "Wednesday"):
            await rule.get_by_label(day).focus()
            await page.keyboard.press("Space")
        await rule.get_by_label("From").fill("09:00")
        await rule.get_by_label("To", exact=True).fill("09:10")
        await page.keyboard.press("Enter")
        await expect(page.locator("#rule-error")).to_contain_text("Too short")
        await rule.get_by_label("To", exact=True).fill("11:00")
        await page.keyboard.press("Enter")
        await expect(rule).to_be_hidden()
        await expect(page.locator("#rule-list li", has_text="09:00 to 11:00")).to_have_count(2)
        slots = page.locator("#week button.block")
        await expect(slots).to_have_count(4)
        await slots.first.focus()
        await page.keyboard.press("Enter")
        question = page.get_by_role("dialog", name="Not on this day?")
        await expect(question).to_contain_text(re.compile(r"Mon 4 Jan( 2027)?, 09:00"))
        await question.get_by_role("button", name="Not on this day").focus()
        await page.keyboard.press("Enter")
        await expect(slots).to_have_count(3)
        await expect(page.locator("#exception-list")).to_contain_text("09:00 to 09:45")
        await page.get_by_role("button", name="Offer again").click()
        await expect(slots).to_have_count(4)
        await page.get_by_role("button", name="Take time off").click()
        off = page.get_by_role("dialog", name="Take time off")
        await off.get_by_label("Date").fill("2027-01-06")
        await off.get_by_label("Reason").fill("Away for supervision")
        await off.get_by_role("button", name="Take it off").click()
        await expect(page.locator("#week .week__exception")).to_contain_text("Away for supervision")
        await expect(slots).to_have_count(2)
        await page.get_by_role("button", name="Remove Mon, 09:00 to 11:00").click()
        await page.get_by_role("button", name="Remove", exact=True).click()
        await expect(slots).to_have_count(0)


async def test_open_page_follows_what_happens_elsewhere(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as amara, opened(browser, server) as mina:
        await sign_in(amara, "amara@lindenrow.example")
        await expect(amara.locator("#live-sign")).to_have_text("Live")
        await book_soonest(mina, "mina@example.com")
        await expect(amara.locator("#day")).to_contain_text("Mina Halvorsen", timeout=10_000)


async def test_times_are_the_visitors_own_before_anybody_signs_in(browser: Browser, server: Server) -> None:
    async with opened(browser, server, timezone_id="Asia/Tokyo") as page:
        await page.goto("/")
        await page.goto("/practitioners?q=amara")
        await page.get_by_role("link", name="Dr. Amara Okafor").click()
        await expect(page.locator("#zone-name")).to_have_text("Tokyo, UTC+9")
        await expect(page.locator("#slots .slot__zone").first).to_contain_text("in Lisbon")


async def test_letter_is_read_in_its_frame(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as mina:
        await book_soonest(mina, "mina@example.com")
    async with opened(browser, server) as page:
        await sign_in(page, "clara@lindenrow.example")
        for _ in range(50):
            await page.goto("/admin/outbox")
            if await page.get_by_text("Your session on").count():
                break
            await asyncio.sleep(0.1)
        await page.get_by_text("Your session on").first.click()
        await expect(page.frame_locator("iframe").get_by_text("Hello Mina")).to_be_visible()


async def test_a_form_sent_before_its_script_has_loaded_is_sent_by_it(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as page:
        arrived = asyncio.Event()

        async def late(route: Route) -> None:
            await arrived.wait()
            await route.continue_()

        await page.route("**/js/forms.js", late)
        await page.goto("/sign-in", wait_until="commit")
        await page.locator("#email").fill("mina@example.com")
        await page.locator("#password").fill("demo-mina-halvorsen")
        await page.locator("#sign-in button[type=submit]").click(no_wait_after=True)
        assert page.url == f"{server.url}/sign-in"
        arrived.set()
        await page.wait_for_url("**/dashboard")


async def test_a_page_that_lacks_a_module_is_loaded_anew(browser: Browser, server: Server) -> None:
    """Chromium drops every request that waits when the machine's network changes."""
    async with opened(browser, server) as page:
        missed: list[str] = []
        loaded: asyncio.Queue[str] = asyncio.Queue()

        async def drop_the_first(route: Route) -> None:
            if missed:
                await route.continue_()
                return
            missed.append(route.request.url)
            await route.abort("failed")

        await page.route("**/js/forms.js", drop_the_first)
        page.on("load", lambda _page: loaded.put_nowait("loaded"))
        await page.goto("/sign-in")
        async with asyncio.timeout(30):
            for _ in range(2):
                await loaded.get()
        await page.locator("#email").fill("mina@example.com")
        await page.locator("#password").fill("demo-mina-halvorsen")
        await page.locator("#sign-in button[type=submit]").click()
        await page.wait_for_url("**/dashboard")
