"""Chromium for browser tests: a process for each set of flags stays open, and each test gets contexts of its own.

A context has its own cookies, storage and permissions; what is decided by flags (which file is the camera) is the
process's. Fixtures: `browser`, which has no camera, and `playwright` for those who ask `launched` for another one.
"""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, Playwright, async_playwright

CHROMIUM = "/usr/bin/chromium"
FEATURES_OFF = (
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades"),
    *(
        "HttpsFirstBalancedModeAutoEnable",
        "LensOverlay",
        "MediaRouter",
        "PaintHolding",
        "ThirdPartyStoragePartitioning",
    ),
    *("AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled"),
    *("PreconnectToSearch", "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup"),
)
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--no-sandbox",
    # Playwright's own list, which this one replaces, and the address bar's popups: pages that each context would
    # open, and that take more than the context does (0.68 s of the processor, 0.27 without).
    "--disable-features=" + ",".join(FEATURES_OFF),
)

_open: dict[tuple[str, ...], Browser] = {}


async def launched(playwright: Playwright, *flags: str) -> Browser:
    """The one Chromium with these flags; not to be closed. One that died is followed by another."""
    browser = _open.get(flags)
    if browser is None or not browser.is_connected():
        browser = _open[flags] = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *flags])
    return browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def driver() -> AsyncIterator[Playwright]:
    async with async_playwright() as started:
        yield started
        for browser in _open.values():
            await browser.close()
    _open.clear()


async def close_pages() -> None:
    for browser in _open.values():
        for context in browser.contexts:
            await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def playwright(driver: Playwright) -> AsyncIterator[Playwright]:
    yield driver
    await close_pages()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(playwright: Playwright) -> Browser:
    return await launched(playwright)
