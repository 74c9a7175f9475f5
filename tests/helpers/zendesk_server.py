"""The part of Zendesk's REST API that Holdspace uses, on this machine, with the faults of a bad day.

Keeps tickets, comments and answers under idempotency keys as Zendesk does, signs webhooks, and breaks as told:
`faults` is taken from in order, one per changing request; `down` breaks every request.
"""

import base64
import hashlib
import hmac
import json
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from aiohttp import web

EMAIL, TOKEN, WEBHOOK_SECRET = "desk@row.example", "zendesk-token", "zendesk-webhook-secret"
AGENT_ID = 7

Json = dict[str, Any]
UNSET = object()


class Fault(StrEnum):
    NONE = "none"
    LOST_BEFORE = "lost_before"  # the connection breaks, nothing was done
    LOST_AFTER = "lost_after"  # done, and the answer is lost
    TOO_MANY = "too_many"  # 429 with Retry-After
    REFUSED = "refused"  # 422
    NONSENSE = "nonsense"  # 200 with a body of another shape


@dataclass
class ZendeskServer:
    base: str = ""
    faults: deque[Fault] = field(default_factory=deque)
    down: bool = False
    tickets: dict[int, Json] = field(default_factory=dict)
    comments: dict[int, list[Json]] = field(default_factory=dict)
    answers: dict[str, Json] = field(default_factory=dict)
    found: Any = UNSET  # what a search answers instead of the tickets
    mailed: list[tuple[str, str]] = field(default_factory=list)
    """(address, words) of what Zendesk would have sent to requesters."""
    _numbers: "count[int]" = field(default_factory=lambda: count(100))

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v2/tickets.json", self._find),
            web.post("/api/v2/tickets.json", self._open),
            web.get(r"/api/v2/tickets/{id:\d+}.json", self._one),
            web.put(r"/api/v2/tickets/{id:\d+}.json", self._update),
            web.get(r"/api/v2/tickets/{id:\d+}/comments.json", self._comments),
        ]

    def agent_writes(self, ticket_id: int, body: str, *, public: bool = True) -> None:
        self._add(ticket_id, body, AGENT_ID, public=public)

    def requester_writes(self, ticket_id: int, body: str) -> None:
        self._add(ticket_id, body, self.tickets[ticket_id]["requester_id"], public=True)

    def webhook(self, ticket_id: int | str, secret: str = WEBHOOK_SECRET) -> tuple[bytes, dict[str, str]]:
        raw, at = json.dumps({"ticket_id": str(ticket_id)}).encode(), "2026-03-02T09:00:00Z"
        made = base64.b64encode(hmac.new(secret.encode(), at.encode() + raw, hashlib.sha256).digest()).decode()
        headers = {
            "X-Zendesk-Webhook-Signature": made,
            "X-Zendesk-Webhook-Signature-Timestamp": at,
            "Content-Type": "application/json",
        }
        return raw, headers

    # -- the API -------------------------------------------------------------------------------------------------

    def _check(self, request: web.Request, *, changes: bool = False) -> Fault:
        credentials = base64.b64encode(f"{EMAIL}/token:{TOKEN}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {credentials}":
            raise web.HTTPUnauthorized
        if self.down:
            raise web.HTTPServiceUnavailable
        fault = self.faults.popleft() if changes and self.faults else Fault.NONE
        if fault is Fault.TOO_MANY:
            raise web.HTTPTooManyRequests(headers={"Retry-After": "90"})
        if fault is Fault.REFUSED:
            raise web.HTTPUnprocessableEntity
        return fault

    def _answer(self, request: web.Request, fault: Fault, body: Json) -> web.Response:
        if fault is Fault.LOST_AFTER and request.transport is not None:
            request.transport.close()
        return web.json_response([] if fault is Fault.NONSENSE else body)

    def _lose(self, request: web.Request, fault: Fault) -> bool:
        if fault is Fault.LOST_BEFORE and request.transport is not None:
            request.transport.close()
            return True
        return False

    def _add(self, ticket_id: int, body: str, author_id: int, *, public: bool) -> None:
        comment = {"id": next(self._numbers), "author_id": author_id, "plain_body": f"{body}\n", "public": public}
        self.comments[ticket_id].append({**comment, "body": body})
        ticket = self.tickets[ticket_id]
        if public and author_id != ticket["requester_id"]:
            self.mailed.append((ticket["requester_email"], body))

    async def _find(self, request: web.Request) -> web.Response:
        self._check(request)
        wanted = request.query["external_id"]
        fitting = [one for one in self.tickets.values() if one["external_id"] == wanted]
        return web.json_response({"tickets": fitting if self.found is UNSET else self.found})

    async def _open(self, request: web.Request) -> web.Response:
        fault = self._check(request, changes=True)
        key = request.headers["Idempotency-Key"]
        if self._lose(request, fault) or key in self.answers:
            return self._answer(request, fault, self.answers.get(key, {}))
        wanted = (await request.json())["ticket"]
        ticket_id, requester_id = next(self._numbers), next(self._numbers)
        self.tickets[ticket_id] = {
            "id": ticket_id,
            "external_id": wanted["external_id"],
            "requester_id": requester_id,
            "requester_email": wanted["requester"]["email"],
            "status": "new",
            "subject": wanted["subject"],
        }
        self.comments[ticket_id] = []
        self._add(ticket_id, wanted["comment"]["body"], requester_id, public=wanted["comment"]["public"])
        self.answers[key] = {"ticket": self.tickets[ticket_id]}
        return self._answer(request, fault, self.answers[key])

    async def _one(self, request: web.Request) -> web.Response:
        self._check(request)
        ticket = self.tickets.get(int(request.match_info["id"]))
        if ticket is None:
            raise web.HTTPNotFound
        return web.json_response({"ticket": ticket})

    async def _update(self, request: web.Request) -> web.Response:
        fault = self._check(request, changes=True)
        ticket_id = int(request.match_info["id"])
        if self._lose(request, fault):
            return web.json_response({})
        if self.tickets[ticket_id]["status"] == "closed":
            raise web.HTTPUnprocessableEntity
        comment = (await request.json())["ticket"]["comment"]
        self._add(ticket_id, comment["body"], comment.get("author_id", AGENT_ID), public=comment["public"])
        return self._answer(request, fault, {"ticket": self.tickets[ticket_id]})

    async def _comments(self, request: web.Request) -> web.Response:
        self._check(request)
        comments = self.comments[int(request.match_info["id"])]
        ordered = comments[::-1] if request.query["sort"] == "-created_at" else comments
        return web.json_response({"comments": ordered[: int(request.query["page[size]"])]})
