"""Two people who have met: what every test of the room starts from. A server is started once per test."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Playwright

from tests.browser import journey
from tests.browser.people import Person, Server, person_in_browser, running_server
from tests.helpers.fake_media import AMARA, MINA


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
