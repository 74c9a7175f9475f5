"""Zendesk's REST API as far as the help desk needs it: finding, opening and commenting tickets, reading comments.

Knows no database. Every call either answers, or raises NotReached with whether trying again makes sense. Paths and
members as in Zendesk's Support API (tickets, ticket comments, webhook signatures).
"""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

TIMEOUT_S = 15.0
MOST_COMMENTS = 100  # of a ticket, in one page of the API


class NotReached(Exception):
    """`permanent`: the same call would be refused again. `retry_after_s` where Zendesk said so."""

    def __init__(self, reason: str, *, permanent: bool = False, retry_after_s: int | None = None) -> None:
        super().__init__(reason)
        self.permanent = permanent
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Ticket:
    id: str
    requester_id: int


@dataclass(frozen=True)
class Comment:
    id: int
    author_id: int
    body: str
    public: bool


class Zendesk:
    def __init__(self, url: str, email: str, token: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        credentials = base64.b64encode(f"{email}/token:{token}".encode()).decode()
        self._authorization = f"Basic {credentials}"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def find_ticket(self, external_id: str) -> Ticket | None:
        """The one that can be written in. A closed one never can again: whoever writes then opens another."""
        answer = await self._call("GET", f"/api/v2/tickets.json?external_id={external_id}")
        found = answer.get("tickets")
        if not isinstance(found, list):
            raise NotReached("an answer of another shape")
        still_open = [one for one in found if not (isinstance(one, Mapping) and one.get("status") == "closed")]
        return _ticket(still_open[0]) if still_open else None

    async def open_ticket(
        self, external_id: str, subject: str, name: str, email: str, body: str, *, public: bool, key: str
    ) -> Ticket:
        """`key` makes the call safe to repeat: Zendesk keeps it for two hours."""
        ticket = {
            "external_id": external_id,
            "subject": subject,
            "requester": {"name": name, "email": email},
            "comment": {"body": body, "public": public},
        }
        answer = await self._call("POST", "/api/v2/tickets.json", {"ticket": ticket}, key=key)
        return _ticket(answer.get("ticket"))

    async def comment(self, ticket: Ticket, body: str, *, by_requester: bool, public: bool) -> None:
        comment: dict[str, Any] = {"body": body, "public": public}
        if by_requester:
            comment["author_id"] = ticket.requester_id
        await self._call("PUT", f"/api/v2/tickets/{ticket.id}.json", {"ticket": {"comment": comment}})

    async def ticket(self, ticket_id: str) -> tuple[Ticket, str]:
        """With its external id."""
        answer = await self._call("GET", f"/api/v2/tickets/{ticket_id}.json")
        found = answer.get("ticket")
        return _ticket(found), str((found or {}).get("external_id") or "")

    async def comments(self, ticket_id: str) -> tuple[Comment, ...]:
        """The newest MOST_COMMENTS, oldest first."""
        path = f"/api/v2/tickets/{ticket_id}/comments.json?sort=-created_at&page[size]={MOST_COMMENTS}"
        answer = await self._call("GET", path)
        try:
            return tuple(_comment(one) for one in reversed(answer["comments"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NotReached("an answer of another shape") from error

    async def _call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Mapping[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        headers = {"Authorization": self._authorization}
        if key is not None:
            headers["Idempotency-Key"] = key
        data = None
        if body is not None:
            raw = json.dumps(body).encode()
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(raw))}
            data = _once(raw)
        try:
            async with self._session.request(
                method, self._url + path, data=data, headers=headers, allow_redirects=False
            ) as answer:
                if answer.status in (429, 503):
                    wait = answer.headers.get("Retry-After", "")
                    raise NotReached(f"status {answer.status}", retry_after_s=int(wait) if wait.isdigit() else None)
                if answer.status >= 300:
                    raise NotReached(f"status {answer.status}", permanent=answer.status in (400, 404, 422))
                found = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NotReached(type(error).__name__) from error
        if not isinstance(found, Mapping):
            raise NotReached("an answer of another shape")
        return found


async def _once(raw: bytes) -> AsyncIterator[bytes]:
    """A body that can't be sent twice: aiohttp repeats a PUT whose answer is lost, and a comment would stand twice."""
    yield raw


def _comment(found: Any) -> Comment:
    body = str(found.get("plain_body") or found["body"])
    return Comment(int(found["id"]), int(found["author_id"]), body, bool(found["public"]))


def _ticket(found: Any) -> Ticket:
    try:
        return Ticket(str(int(found["id"])), int(found["requester_id"]))
    except (KeyError, TypeError, ValueError) as error:
        raise NotReached("an answer of another shape") from error


def signature_fits(secret: bytes, timestamp: str, signature_untrusted: str, raw: bytes) -> bool:
    """X-Zendesk-Webhook-Signature: base64 of HMAC-SHA256 over the timestamp's text and the body."""
    made = base64.b64encode(hmac.new(secret, timestamp.encode("utf-8", "replace") + raw, hashlib.sha256).digest())
    return hmac.compare_digest(made, signature_untrusted.encode("utf-8", "replace"))
