"""Browsers without a screen: an aiohttp client that keeps cookies, says its Origin and sends the page's CSRF token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.test_utils import TestClient, TestServer

from control.accounts import Actor

PASSWORD = "a long enough password"


@dataclass
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]
    text: str = ""

    @property
    def code(self) -> str | None:
        """The problem's code."""
        return self.body.get("code") if isinstance(self.body, dict) else None


@dataclass
class Browser:
    client: TestClient[Any, Any]
    origin: str
    csrf: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, **options: Any) -> Answer:
        headers = {**self.headers, **options.pop("headers", {})}
        async with self.client.get(path, headers=headers, allow_redirects=False, **options) as answer:
            return await _read(answer)

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return await self.send("POST", path, {} if body is None else body, **headers)

    async def delete(self, path: str) -> Answer:
        return await self.send("DELETE", path, None)

    async def send(self, method: str, path: str, body: Any, **headers: str) -> Answer:
        """As a page does. `headers` replaces single ones by name (X_CSRF_Token="…"), an empty text leaves one out."""
        if not self.csrf:
            self.csrf = (await self.get("/api/me")).body["csrf_token"]
        sent = {"Origin": self.origin, "X-CSRF-Token": self.csrf, **self.headers}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value}
        async with self.client.request(method, path, json=body, headers=sent, allow_redirects=False) as answer:
            return await _read(answer)

    async def sign_in(self, email: str, password: str = PASSWORD) -> Answer:
        answer = await self.post("/api/sign-in", {"email": email, "password": password})
        if answer.status == 200:
            self.csrf = answer.body["csrf_token"]
        return answer

    async def live(self, after: int | None = None) -> aiohttp.ClientWebSocketResponse:
        query = "" if after is None else f"?after={after}"
        return await self.client.ws_connect(f"/api/live{query}", headers={"Origin": self.origin})


async def _read(answer: aiohttp.ClientResponse) -> Answer:
    text = await answer.text()
    body = await answer.json(content_type=None) if "json" in answer.content_type else None
    return Answer(answer.status, body, answer.headers, text)


@dataclass(frozen=True)
class Someone:
    """A person in the test's practice."""

    actor: Actor
    email: str
    password: str = PASSWORD


async def open_browser(server: TestServer, origin: str) -> Browser:
    client: TestClient[Any, Any] = TestClient(server, cookie_jar=aiohttp.CookieJar(unsafe=True))
    return Browser(client, origin)
