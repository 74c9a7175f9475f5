"""The pages as an installed app: the worker keeps the offline page and nothing of anybody's; the network comes back."""

import json
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser.journey import sign_in, until
from tests.browser.people import Server, running_server
from tests.helpers.axe import violations
from tests.helpers.push_service import PushService
from tests.helpers.stand_in import serving

pytestmark = pytest.mark.timeout(120)

KEPT = """(async () => {
  const kept = [];
  for (const name of await caches.keys()) for (const one of await (await caches.open(name)).keys()) kept.push(one.url);
  return kept;
})()"""


@pytest_asyncio.fixture
async def context(browser: Browser, server: Server) -> BrowserContext:
    return await browser.new_context(base_url=server.url)


async def controlled(context: BrowserContext) -> Page:
    page = await context.new_page()
    await sign_in(page, "mina@example.com")
    await until(page, "navigator.serviceWorker.controller !== null")
    return page


async def test_only_the_shell_is_kept_whatever_was_opened(context: BrowserContext) -> None:
    page = await controlled(context)
    for path in ("/dashboard", "/wallet", "/messages", "/account", "/sessions"):
        await page.goto(path)
        assert await violations(page) == [], path
    paths = {url.split("/", 3)[3].split("?")[0] for url in await page.evaluate(KEPT)}
    assert paths == {
        *("offline", "static/css/tokens.css", "static/css/components.css", "static/css/pages.css"),
        *("static/js/early.js", "static/js/offline.js", "static/mark.svg", "static/img/app-192.png"),
    }
    offline = await page.evaluate("caches.match('/offline').then((kept) => kept.text())")
    assert "Mina" not in offline


async def test_offline_page_is_shown_and_the_wanted_one_follows_by_itself(context: BrowserContext) -> None:
    page = await controlled(context)
    await context.set_offline(True)
    await page.goto("/wallet")
    await expect(page.get_by_role("heading", name="The practice can't be reached")).to_be_visible()
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 250, 247)"
    assert await violations(page) == []
    await context.set_offline(False)
    await expect(page.get_by_role("heading", name="Wallet and payments")).to_be_visible(timeout=20_000)


async def test_whoever_is_not_signed_in_gets_no_worker(context: BrowserContext) -> None:
    page = await context.new_page()
    await page.goto("/")
    await page.wait_for_load_state("networkidle")
    assert await page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0
    assert await violations(page) == []


async def test_app_can_be_installed_and_starts_where_its_person_does(context: BrowserContext) -> None:
    page = await context.new_page()
    await page.goto("/start")
    assert page.url.endswith("/sign-in")
    assert await violations(page) == []
    await sign_in(page, "mina@example.com")
    devtools = await context.new_cdp_session(page)
    found = await devtools.send("Page.getAppManifest")
    assert found["errors"] == []
    assert '"start_url": "/start"' in found["data"]
    errors = (await devtools.send("Page.getInstallabilityErrors"))["installabilityErrors"]
    assert [one["errorId"] for one in errors if one["errorId"] != "in-incognito"] == []  # every test's context is
    await page.goto("/start")
    assert page.url.endswith("/dashboard")


SUBSCRIBES = """(device) => {
  const subscription = {
    toJSON: () => ({ endpoint: device.endpoint, keys: { p256dh: device.p256dh, auth: device.auth } }),
    unsubscribe: async () => true,
  };
  let mine = null;
  PushManager.prototype.subscribe = async (wanted) => { window.asked = wanted; return mine = subscription; };
  PushManager.prototype.getSubscription = async () => mine;
}"""
"""Chromium's own push service lies outside; everything else is the browser's and ours."""


async def test_device_is_switched_on_told_and_shows_it_without_a_name(browser: Browser, tmp_path: Path) -> None:
    allowed = {"PUSH__ENABLED": "true", "PUSH__ALLOW_PRIVATE_ADDRESSES": "true"}
    async with serving(PushService()) as service, running_server(tmp_path, **allowed) as server:
        context = await browser.new_context(base_url=server.url, permissions=["notifications"])
        page = await controlled(context)
        await page.goto("/account")
        await page.evaluate(SUBSCRIBES, service.device())
        toggle = page.get_by_role("switch", name="A session starts soon")
        await toggle.check(force=True)
        await until(page, "fetch('/api/push').then((answer) => answer.json()).then((said) => said.on)")
        asked = await page.evaluate("asked")
        answer = await (await page.request.get("/api/push")).json()
        assert asked == {"userVisibleOnly": True, "applicationServerKey": answer["public_key"]}

        devtools = await context.new_cdp_session(page)
        registrations: list[str] = []
        devtools.on(
            "ServiceWorker.workerRegistrationUpdated",
            lambda event: registrations.extend(one["registrationId"] for one in event["registrations"]),
        )
        await devtools.send("ServiceWorker.enable")
        for _ in range(200):
            if registrations:
                break
            await page.wait_for_timeout(50)
        said = {"kind": "starting_soon", "title": "Your session starts soon", "path": "/sessions"}
        pushed = {"origin": server.url, "registrationId": registrations[0], "data": json.dumps(said)}
        await devtools.send("ServiceWorker.deliverPushMessage", pushed)
        shown = "navigator.serviceWorker.ready.then((one) => one.getNotifications())"
        await until(page, f"{shown}.then((all) => all.length === 1)")
        notice = await page.evaluate(f"{shown}.then(([one]) => [one.title, one.body, one.data.path])")
        assert notice == ["Your session starts soon", "", "/sessions"]
        assert await violations(page) == []

        await toggle.uncheck(force=True)
        await until(page, "fetch('/api/push').then((answer) => answer.json()).then((said) => !said.on)")
