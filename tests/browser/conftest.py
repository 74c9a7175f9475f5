"""Fixtures of the browser tests: cameras made once, a server and a meeting for each test that asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Playwright

from tests.browser.people import Server, running_server
from tests.browser.rooms import Meeting, met
from tests.helpers.fake_media import AMARA, MINA, write_camera, write_microphone


@pytest.fixture(scope="session")
def media_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    for person in (AMARA, MINA):
        write_camera(folder / f"{person.name}.y4m", person)
        write_microphone(folder / f"{person.name}.wav", person)
    return folder


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_server(tmp_path) as started:
        yield started


@pytest_asyncio.fixture
async def meeting(playwright: Playwright, media_dir: Path, tmp_path: Path) -> AsyncIterator[Meeting]:
    async with met(playwright, media_dir, tmp_path) as both:
        yield both


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
