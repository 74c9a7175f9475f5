"""The room's line to the server, in Chromium against a signaling server that follows a script."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import WSMsgType, web
from playwright.async_api import Browser, Page

from tests.browser.modules import empty_page

HARNESS = """
async () => {
  const { Signaling, RefusedError } = await import('/static/js/room/protocol.js');
  window.heard = []; window.lines = []; window.refused = []; window.tokens = 0;
  window.signaling = new Signaling({
    url: `ws://${location.host}/signaling`,
    getToken: async () => {
      window.tokens += 1;
      if (window.refuseTokens) throw new RefusedError('cancelled', 'This session has been cancelled.');
      return `token ${window.tokens}`;
    },
    onMessage: (message) => heard.push(message),
    onLine: (line) => lines.push(line),
    onRefused: (refusal) => refused.push(refusal),
  });
  signaling.connect();
}
"""


@dataclass
class Script:
    """The server's side: what came in, and the sockets to answer on."""

    hellos: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    sockets: asyncio.Queue[web.WebSocketResponse] = field(default_factory=asyncio.Queue)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def signaling(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for frame in ws:
            if frame.type is WSMsgType.TEXT:
                message = json.loads(frame.data)
                if message["type"] == "hello":
                    self.hellos.append(message)
                    self.sockets.put_nowait(ws)
                elif message["type"] != "ping":
                    self.others.append(message)
        self.over.set()
        return ws

    async def socket(self) -> web.WebSocketResponse:
        return await asyncio.wait_for(self.sockets.get(), 10)

    async def welcome(self, *, resumed: bool = False, resume: str = "r1") -> web.WebSocketResponse:
        ws = await self.socket()
        await ws.send_json(
            {
                "type": "welcome",
                "version": 1,
                "session": "s",
                "person": "me",
                "role": "client",
                "place": "waiting",
                "resumed": resumed,
                "resume": resume,
                "ice_servers": [],
                "server_now": "2026-03-03T15:56:00.000Z",
                "heartbeat_s": 3,
            }
        )
        return ws


@pytest.fixture
def script() -> Script:
    return Script()


@pytest_asyncio.fixture
async def page(browser: Browser, script: Script) -> AsyncIterator[Page]:
    async with empty_page(browser, web.get("/signaling", script.signaling)) as page:
        yield page


async def heard(page: Page, count: int) -> list[dict[str, Any]]:
    await page.wait_for_function(f"heard.length >= {count}")
    result: list[dict[str, Any]] = await page.evaluate("heard")
    return result


async def test_first_word_is_hello_with_the_token(page: Page, script: Script) -> None:
    await page.evaluate(HARNESS)
    await script.welcome()
    await heard(page, 1)
    assert script.hellos == [{"type": "hello", "version": 1, "token": "token 1"}]
    assert await page.evaluate("lines") == ["open"]


async def test_lost_line_is_resumed_and_nothing_is_handled_twice(page: Page, script: Script) -> None:
    await page.evaluate(HARNESS)
    first = await script.welcome(resume="r1")
    await first.send_json({"type": "admitted", "n": 1})
    await first.send_json({"type": "peer_lost", "n": 2})
    await heard(page, 3)
    await first.close(code=4413)
    second = await script.welcome(resumed=True, resume="r2")
    assert script.hellos[1] == {"type": "hello", "version": 1, "resume": "r1", "received": 2}
    for n, kind in ((2, "peer_lost"), (3, "waiting"), (3, "waiting"), (4, "admitted")):
        await second.send_json({"type": kind, "n": n})
    messages = await heard(page, 6)
    assert [(one["type"], one.get("n")) for one in messages[3:]] == [
        ("welcome", None),
        ("waiting", 3),
        ("admitted", 4),
    ]
    assert await page.evaluate("lines") == ["open", "lost", "open"]
    assert await page.evaluate("tokens") == 1


async def test_rotated_resume_token_is_the_one_used(page: Page, script: Script) -> None:
    await page.evaluate(HARNESS)
    ws = await script.welcome(resume="r1")
    await ws.send_json({"type": "resume_token", "n": 1, "resume": "rotated"})
    await heard(page, 2)
    await ws.close(code=1001)
    await script.socket()
    assert script.hellos[1]["resume"] == "rotated"


async def test_forgotten_session_is_joined_anew_at_once(page: Page, script: Script) -> None:
    await page.evaluate(HARNESS)
    first = await script.welcome()
    await first.send_json({"type": "admitted", "n": 7})
    await heard(page, 2)
    await first.close(code=1001)
    second = await script.socket()
    await second.send_json({"type": "error", "code": "resume_unknown", "detail": "", "fatal": True, "revision": None})
    await second.close(code=4404)
    third = await script.welcome()
    assert script.hellos[2] == {"type": "hello", "version": 1, "token": "token 2"}
    await third.send_json({"type": "admitted", "n": 1})
    # The numbers of a new session begin again.
    assert [one["n"] for one in await heard(page, 5) if one["type"] == "admitted"] == [7, 1]


@pytest.mark.parametrize("code", [1000, 4403, 4409, 4410])
async def test_final_close_is_not_tried_again(page: Page, script: Script, code: int) -> None:
    await page.evaluate(HARNESS)
    ws = await script.welcome()
    await heard(page, 1)
    await ws.close(code=code)
    await page.wait_for_function("lines.at(-1) === 'closed'")
    assert await page.evaluate("signaling.send({type: 'leave'})") is False
    assert len(script.hellos) == 1


async def test_refusal_of_control_reaches_the_page_once(page: Page, script: Script) -> None:
    await page.evaluate(HARNESS)
    ws = await script.socket()
    await ws.send_json({"type": "error", "code": "too_early", "detail": "Not yet.", "fatal": True, "revision": None})
    await ws.close(code=4403)
    await page.wait_for_function("refused.length > 0")
    assert await page.evaluate("refused") == [{"code": "too_early", "detail": "Not yet."}]


async def test_refused_token_closes_the_line_with_its_reason(page: Page, script: Script) -> None:
    await page.evaluate("window.refuseTokens = true")
    await page.evaluate(HARNESS)
    await page.wait_for_function("refused.length > 0")
    assert await page.evaluate("refused") == [{"code": "cancelled", "detail": "This session has been cancelled."}]
    assert script.hellos == []


async def test_silent_line_is_given_up_after_a_few_pings(page: Page, script: Script) -> None:
    await page.evaluate(HARNESS)
    await script.welcome()
    await heard(page, 1)
    await script.socket()  # the script answers no ping: the page comes back by itself
    assert script.hellos[1]["resume"] == "r1"


async def test_leaving_says_goodbye(page: Page, script: Script) -> None:
    await page.evaluate(HARNESS)
    await script.welcome()
    await heard(page, 1)
    await page.evaluate("signaling.leave()")
    await asyncio.wait_for(script.over.wait(), 10)
    assert script.others == [{"type": "leave"}]


async def test_retries_are_spread_and_bounded(page: Page, script: Script) -> None:
    delays = await page.evaluate(
        """async () => {
            const { retryDelay } = await import('/static/js/room/protocol.js');
            return [0, 1, 4, 31, 32, 1000].map((attempt) => [retryDelay(attempt, 0), retryDelay(attempt, 1)]);
        }"""
    )
    rounded = [[round(delay) for delay in pair] for pair in delays]
    assert rounded == [[0, 0], [150, 350], [1200, 2800], [1200, 2800], [3000, 7000], [3000, 7000]]
