"""The pages' own modules in Chromium, on a page that holds nothing: what is tried is one module, not a session."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page

STATIC = Path(__file__).parents[2] / "web" / "static"


@asynccontextmanager
async def empty_page(browser: Browser, *routes: web.AbstractRouteDef) -> AsyncIterator[Page]:
    """`routes` are what else its server answers."""

    async def nothing(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Harness</title>", content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/", nothing), web.static("/static", STATIC), *routes])
    async with TestServer(app) as server:
        page = await browser.new_page()
        await page.goto(str(server.make_url("/")))
        yield page
        await page.close()
