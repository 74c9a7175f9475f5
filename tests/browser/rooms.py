"""Two people who have met: what every test of the room starts from. A server is started once per test.

And a third who comes in by a link.
"""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Playwright, expect

from tests.browser import journey
from tests.browser.people import Person, Server, person_in_browser, running_server
from tests.helpers.fake_media import AMARA, GWEN, MINA

GUEST = "gwen@example.org"


@dataclass
class Meeting:
    server: Server
    mina: Person
    amara: Person
    appointment: str

    async def end(self) -> None:
        await journey.press(self.amara.page, "#end")
        await self.amara.page.locator("#end-yes").click()
        await asyncio.gather(
            self.mina.page.wait_for_url(re.compile("/afterwards")),
            self.amara.page.wait_for_url(re.compile(f"/sessions/{self.appointment}$")),
        )


@asynccontextmanager
async def met(playwright: Playwright, media_dir: Path, data_dir: Path) -> AsyncIterator[Meeting]:
    """Mina has booked, agreed and waited; Dr. Amara has pressed Start; both see each other."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(data_dir))
        mina = await stack.enter_async_context(person_in_browser(playwright, MINA, media_dir, server.url))
        amara = await stack.enter_async_context(person_in_browser(playwright, AMARA, media_dir, server.url))
        appointment = await journey.ready(server.url, mina, amara, recording=True)
        await journey.start_from_dashboard(amara.page)
        await asyncio.gather(journey.wait_for_picture(mina), journey.wait_for_picture(amara))
        yield Meeting(server, mina, amara, appointment)


@asynccontextmanager
async def guest_by_link(meeting: Meeting, playwright: Playwright, media_dir: Path) -> AsyncIterator[Person]:
    """Gwen: invited from the room's menu, come by the letter's link, agreed, waiting to be let in."""
    amara = meeting.amara.page
    await journey.press(amara, "#more")
    await amara.locator("#menu-guest").click()
    dialog = amara.locator("#guest-dialog")
    await dialog.get_by_label("Name").fill("Gwen Guest")
    await dialog.get_by_label("E-mail").fill(GUEST)
    await dialog.get_by_role("button", name="Invite", exact=True).click()
    await expect(amara.locator("#toasts")).to_contain_text("Invited. A link is on its way.")
    async with person_in_browser(playwright, GWEN, media_dir, meeting.server.url) as gwen:
        await gwen.page.goto(await _letters_link(meeting.server))
        await gwen.page.get_by_role("button", name="Sign me in").click()
        await gwen.page.wait_for_url(f"**/sessions/{meeting.appointment}")
        await journey.agree(gwen.page, meeting.appointment, recording=True)
        yield gwen


async def _letters_link(server: Server) -> str:
    async with asyncio.timeout(20):
        while True:
            with closing(sqlite3.connect(server.data_dir / "holdspace.db")) as database:
                written = database.execute("SELECT body_text FROM outbox WHERE to_address = ?", (GUEST,)).fetchone()
            if written and (found := re.search(r"/sign-in/link/\S+", written[0] or "")):
                return found.group(0)
            await asyncio.sleep(0.05)
