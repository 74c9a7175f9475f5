"""Pages need one kind of database: what differs between the two is tested under tests/control."""

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from control.accounts import Actor
from tests.helpers.control import *  # noqa: F403  fixtures are taken by name
from tests.helpers.databases import *  # noqa: F403
from tests.helpers.databases import sqlite_url
from tests.helpers.practice import *  # noqa: F403
from tests.helpers.practice import Site
from tests.web.reading import Page

Open = Callable[[Actor | None, str], Awaitable[Page]]
OpenAll = Callable[[Actor | None, Iterable[str]], Awaitable[dict[str, Page]]]


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return sqlite_url(request, tmp_path)


@pytest.fixture
def open_pages(site: Site) -> OpenAll:
    """`await open_pages(site.world.bob, ["/dashboard"])` by path; None for somebody who is not signed in."""

    async def open_all(who: Actor | None, paths: Iterable[str]) -> dict[str, Page]:
        await site.hand_of(who)
        browser = site.opened[-1]
        pages = {}
        for path in paths:
            answer = await browser.get(path, headers={"Accept": "text/html"})
            pages[path] = Page(answer.status, answer.text, answer.headers)
        return pages

    return open_all


@pytest.fixture
def open_page(open_pages: OpenAll) -> Open:
    async def open_one(who: Actor | None, path: str) -> Page:
        return (await open_pages(who, [path]))[path]

    return open_one
