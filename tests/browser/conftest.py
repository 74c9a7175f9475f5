"""Fixtures of the browser tests: cameras made once, a server and a meeting for each test that asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Playwright

from tests.browser.people import Server, running_server
from tests.browser.rooms import Meeting, met
from tests.helpers.fake_media import AMARA, GWEN, MINA, write_camera, write_microphone


def media_of_all(folder: Path, every: int = 1, smaller: int = 1) -> Path:
    for person in (AMARA, MINA, GWEN):
        write_camera(folder / f"{person.name}.y4m", person, every=every, smaller=smaller)
        write_microphone(folder / f"{person.name}.wav", person)
    return folder


@pytest.fixture(scope="session")
def whole_media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media_of_all(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def small_media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media_of_all(tmp_path_factory.mktemp("media"), every=3, smaller=2)


@pytest.fixture
def media_dir(request: pytest.FixtureRequest) -> Path:
    """Cameras of 640×480 at 24 fps for tests that measure, of a quarter of that at 8 fps beside others."""
    folder: Path = request.getfixturevalue("whole_media" if request.node.get_closest_marker("alone") else "small_media")
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
