"""The steps of a session as people do them, by pressing what the pages offer. Used by every browser test."""

import asyncio
import re

from playwright.async_api import Page, expect

from benchmarks.practice import book_session
from tests.browser.people import Person

SERVICE = "Short check-in"
PASSWORDS = {
    "mina@example.com": "demo-mina-halvorsen",
    "amara@lindenrow.example": "demo-amara-okafor",
    "clara@lindenrow.example": "demo-clara-duarte",
    "elio@lindenrow.example": "demo-elio-ferrante",
}


async def sign_in(page: Page, email: str) -> None:
    """From the sign-in page, wherever it came from; ends on the page it leads to."""
    if "/sign-in" not in page.url:
        await page.goto("/sign-in")
    await page.get_by_label("E-mail", exact=True).fill(email)
    await page.get_by_label("Password", exact=True).fill(PASSWORDS[email])
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.wait_for_url(lambda url: "/sign-in" not in url)


async def book_soonest(page: Page, email: str, service: str = SERVICE) -> str:
    """From the home page through directory and booker to "You are booked"; answers the appointment's id."""
    await page.goto("/")
    await page.get_by_role("link", name="Find a practitioner").first.click()
    await page.get_by_role("link", name="Dr. Amara Okafor").click()
    await page.wait_for_load_state("networkidle")
    radio = page.get_by_role("radio", name=re.compile(service))
    if not await radio.is_checked():
        async with page.expect_response(re.compile(r"/book/[0-9a-f]{32}/slots")):
            await radio.check(force=True)
    await expect(page.locator("#booker")).not_to_have_attribute("aria-busy", "true")
    await page.locator("#slots .slot").first.click()
    await page.get_by_role("button", name="Continue to details").click()
    await page.wait_for_url(re.compile(r"/sign-in|appointment="))
    if "/sign-in" in page.url:
        await sign_in(page, email)
        if "appointment=" not in page.url:
            await page.get_by_role("button", name="Continue to details").click()
    await page.wait_for_url(re.compile(r"appointment="))
    await page.get_by_label("I accept these terms").check()
    await page.get_by_role("button", name=re.compile("Continue to (confirm|pay)")).click()
    await page.get_by_role("button", name=re.compile("Book this session|Pay ")).click()
    await expect(page.get_by_role("heading", name="You are booked")).to_be_visible()
    found = re.search(r"appointment=([0-9a-f]{32})", page.url)
    assert found is not None
    return found.group(1)


async def agree(page: Page, appointment: str, *, recording: bool) -> None:
    """Both consents, ending in the waiting room."""
    await page.goto(f"/sessions/{appointment}/consent")
    await page.get_by_label("I agree").check()
    await page.locator("#agree button[type=submit]").click()
    await page.wait_for_url(re.compile("/recording-consent|/waiting-room"))
    if "/recording-consent" in page.url:
        answer = "Yes, you may record" if recording else "No, please don't"
        await page.get_by_role("button", name=answer).click()
    await page.wait_for_url(re.compile("/waiting-room"))


async def ready(url: str, mina: Person, amara: Person, *, recording: bool) -> str:
    """Mina has booked, agreed and waits, Amara is signed in: by the API, for tests of what comes after."""
    answer = "yes" if recording else "no"
    appointment = await book_session(url, amara.context, mina.context, recording=answer, start=False)
    await mina.page.goto(f"/sessions/{appointment}/waiting-room")
    return appointment


async def start_from_dashboard(page: Page) -> None:
    """The practitioner sees who waits, presses Start and lands in the room."""
    await page.goto("/therapist/dashboard")
    await page.locator(".startform button[type=submit]").first.click()
    await page.wait_for_url(re.compile("/room$"))


async def until(page: Page, expression: str, seconds: float = 45) -> None:
    """Until a JavaScript expression is true. (Playwright's own wait evaluates in the page, which our CSP forbids.)"""
    for _ in range(int(seconds * 20)):
        if await page.evaluate(expression):
            return
        await asyncio.sleep(0.05)
    said = " ".join((await page.locator("body").inner_text()).split())[:400]
    fetched = await page.evaluate("performance.getEntriesByType('resource').slice(-6).map((one) => one.name)")
    pictures = await page.evaluate("window.probe?.pictures()")
    raise AssertionError(
        f"not true within {seconds} s on {page.url}: {expression}\nThe page says: {said}\nIt fetched last: {fetched}\n"
        f"Of others' pictures: {pictures}"
    )


async def wait_for_picture(person: Person, seconds: float = 45) -> None:
    """Until the page shows somebody else's moving picture."""
    moving = "video.videoWidth > 0 && video.getVideoPlaybackQuality().totalVideoFrames > 2"
    await until(person.page, f"probe.remoteVideos().some((video) => {moving})", seconds)


async def press(page: Page, control: str) -> None:
    """Press a control of the room: the bars fade without input, a moving pointer brings them back."""
    await page.mouse.move(300, 200)
    await page.mouse.move(320, 220)
    await page.locator(control).click()
