"""Messages in Chromium: two people with a browser each, and what one writes stands on the other's page by itself."""

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.journey import sign_in
from tests.browser.people import Server
from tests.control.test_files import picture
from tests.web.test_in_browser import AXE, loop_is_free, opened, pytestmark, server

__all__ = ["loop_is_free", "pytestmark", "server"]

NOTICE = "Please note these messages are monitored for training purposes"


async def begin(page: Page, text: str) -> None:
    """Mina writes to Dr. Amara from her profile."""
    await sign_in(page, "mina@example.com")
    await page.goto("/practitioners?q=amara")
    await page.get_by_role("link", name="Dr. Amara Okafor").click()
    await page.get_by_role("link", name="Message practitioner").click()
    await expect(page.get_by_text(NOTICE)).to_be_visible()
    await page.get_by_label("Message to Dr. Amara Okafor").fill(text)
    await page.get_by_role("button", name="Send").click()
    await page.wait_for_url(re.compile("/messages/[0-9a-f]{32}$"))


async def choose(page: Page, name: str, content: bytes) -> None:
    await page.locator("#attach-input").set_input_files([{"name": name, "mimeType": "", "buffer": content}])


async def test_message_arrives_live_and_is_answered(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as mina, opened(browser, server) as amara:
        await sign_in(amara, "amara@lindenrow.example")
        await expect(amara.locator("#live-sign")).to_have_text("Live")
        await begin(mina, "Good morning, shall I bring my notes?")
        rail = amara.get_by_role("link", name=re.compile("Messages.*unread: 1"))
        await expect(rail).to_be_visible()
        await rail.click()
        await amara.get_by_role("link", name=re.compile("Mina Halvorsen")).click()
        await expect(amara.locator("#thread")).to_contain_text("shall I bring my notes?")
        await expect(mina.locator("#thread .msg__state")).to_have_text("Read")
        await amara.get_by_label("Message to Mina Halvorsen").press_sequentially("Yes", delay=20)
        await expect(mina.locator("#typing")).to_have_text("Dr. Amara is writing…")
        await amara.keyboard.press("Control+Enter")
        await expect(mina.locator("#thread")).to_contain_text("Yes")
        await expect(mina.locator("#typing")).to_be_empty()
        await expect(amara.get_by_label("Message to Mina Halvorsen")).to_be_empty()
        await expect(amara.locator("#thread .msg__state")).to_have_text("Read")
        await expect(amara.locator("[data-unread-messages]").first).to_be_hidden()
        await choose(mina, "plan.exe", b"MZ" + bytes(90))
        await expect(mina.locator("#write-error")).to_contain_text("plan.exe")
        await choose(mina, "notes.txt", b"Sleep, walk, call")
        await expect(mina.locator("#attached-list")).to_contain_text("notes.txt17 bytes")
        await mina.get_by_role("button", name="Send").click()
        await expect(mina.locator("#attached-list")).to_be_hidden()
        file = amara.locator("#thread").get_by_role("link", name="notes.txt")
        async with amara.expect_download() as fetched:
            await file.click()
        assert (await (await fetched.value).path()).read_bytes() == b"Sleep, walk, call"
        await mina.get_by_role("button", name="Withdraw notes.txt").click()
        await expect(amara.locator("#thread")).to_contain_text("A file that was withdrawn")
        await expect(file).to_have_count(0)


async def test_conversation_is_read_by_axe_and_fits_a_narrow_phone(browser: Browser, server: Server) -> None:
    async with opened(browser, server, viewport={"width": 320, "height": 640}, color_scheme="dark") as mina:
        await begin(mina, "A" * 300 + " https://example.org/" + "b" * 200)
        await choose(mina, "b" * 60 + ".png", picture())
        await choose(mina, "waits.txt", b"For the next message")
        await expect(mina.locator("#attached-list")).to_contain_text("20 bytes")
        await mina.get_by_role("button", name="Take out waits.txt").click()
        await mina.get_by_role("button", name="Send").click()
        await expect(mina.locator("#thread .files__thumb")).to_be_visible()
        await choose(mina, "waits.txt", b"For the next message")
        for path in (mina.url, "/files", "/messages", "/messages?q=aaa", "/messages?q=nothing"):
            await mina.goto(path)
            await mina.evaluate(AXE.read_text(encoding="utf-8"))
            result = await mina.evaluate("axe.run(document, {resultTypes: ['violations']})")
            assert [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in result["violations"]] == [], path
            assert await mina.evaluate("document.documentElement.scrollWidth") == 320, path


@pytest.mark.parametrize("email", ["mina@example.com", "amara@lindenrow.example"])
async def test_first_message_on_a_phone_fills_the_screen_and_no_more(
    browser: Browser, server: Server, email: str
) -> None:
    async with opened(browser, server, viewport={"width": 390, "height": 844}) as page:
        await sign_in(page, email)
        await page.goto("/messages/support")
        assert await page.evaluate("document.documentElement.scrollHeight") == 844


async def test_refused_message_stays_in_its_field(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as mina:
        await begin(mina, "First")
        await mina.route("**/messages", lambda route: route.abort("connectionfailed"))
        await mina.get_by_label("Message to Dr. Amara Okafor").fill("Second")
        await mina.get_by_role("button", name="Send").click()
        await expect(mina.locator("#write-error")).to_contain_text("We can't reach the server")
        await expect(mina.get_by_label("Message to Dr. Amara Okafor")).to_have_value("Second")
        await mina.unroute("**/messages")
        await mina.get_by_role("button", name="Send").click()
        await expect(mina.locator("#thread .msg__text")).to_have_text(["First", "Second"])


async def test_enquiry_of_a_visitor_is_proven_and_stands_on_the_dashboard(browser: Browser, server: Server) -> None:
    thanks = "Thank you for contacting the practitioner through our help portal"
    async with opened(browser, server) as vera, opened(browser, server) as clara:
        await vera.goto("/practitioners?q=amara")
        await vera.get_by_role("link", name="Dr. Amara Okafor").click()
        await vera.get_by_role("link", name="Message practitioner").click()
        await vera.get_by_label("Your name").fill("Vera Visitor")
        await vera.get_by_label("E-mail").fill("vera@visitors.example")
        await vera.get_by_label("What would you like to say or ask?").fill("Do you work with teenagers?")
        await vera.get_by_role("button", name="Send").click()
        await expect(vera.locator("#enquiry-error")).to_contain_text("very quick")
        await vera.wait_for_timeout(4000)  # the form's own least time, by the server's clock
        await vera.get_by_role("button", name="Send").click()
        await expect(vera.get_by_text(thanks)).to_be_visible()
        await sign_in(clara, "clara@lindenrow.example")
        letters = (await (await clara.request.get("/api/outbox")).json())["letters"]
        welcome = next(one["text"] for one in letters if one["kind"] == "enquiry_received")
        found = re.search(r"/enquiries/[\w-]+", welcome)
        assert found is not None
        await vera.goto(found.group())
        await vera.get_by_role("button", name="Hand it on").click()
        await expect(vera.get_by_role("heading", name="Your enquiry is handed on")).to_be_visible()
    async with opened(browser, server) as amara:
        await sign_in(amara, "amara@lindenrow.example")
        await amara.get_by_role("link", name=re.compile("Vera Visitor.*New customer enquiry", re.DOTALL)).click()
        await expect(amara.locator("#thread")).to_contain_text("Do you work with teenagers?")


async def test_staff_read_is_seen_and_support_is_reached(browser: Browser, server: Server) -> None:
    async with opened(browser, server) as mina, opened(browser, server) as clara:
        await begin(mina, "Something to be read")
        await sign_in(clara, "clara@lindenrow.example")
        await clara.get_by_role("link", name="Monitoring").first.click()
        await clara.get_by_role("link", name=re.compile("^Read it Mina")).click()
        await expect(clara.get_by_text("Both can see that you have read this.")).to_be_visible()
        await mina.reload()
        await expect(mina.get_by_text("Read by the practice, last on")).to_be_visible()
        await mina.get_by_role("link", name="Write to the practice").click()
        await mina.get_by_label("Message to Practice support").fill("Where is my receipt?")
        await mina.get_by_role("button", name="Send").click()
        await mina.wait_for_url(re.compile("/messages/[0-9a-f]{32}$"))
        await clara.get_by_role("link", name="Help desk").first.click()
        await clara.get_by_role("button", name=re.compile("Take it.*Mina Halvorsen")).click()
        await expect(clara.locator("#queue")).to_contain_text("Clara Duarte")
        await clara.get_by_role("link", name="Mina Halvorsen").click()
        await clara.get_by_label("Message to Mina Halvorsen").fill("In your account, under payments.")
        await clara.get_by_role("button", name="Send").click()
        await expect(mina.locator("#thread")).to_contain_text("under payments")
