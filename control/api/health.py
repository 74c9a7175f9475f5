"""For operators' machines: is the process alive, can it do its work, and the numbers of /metrics."""

import hmac
import ipaddress
from collections.abc import AsyncIterator, Iterable
from typing import Any

from aiohttp import web
from sqlalchemy import text

from control import measures
from control.errors import Forbidden
from control.keys import DATABASE, LIMITS, LIVE, LOOP_WATCH, MEDIA, OUTBOX, SCHEDULER, SETTINGS
from control.limits import client_address
from control.measures import Measure, counter, gauge

routes = web.RouteTableDef()


@routes.get("/healthz")
async def alive(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


@routes.get("/readyz")
async def ready(request: web.Request) -> web.Response:
    """200 when everything a session needs answers; 503 names what does not."""
    checks = {"database": await _database_answers(request.app), "media": _media_stats(request.app) is not None}
    return web.json_response({"ready": all(checks.values()), **checks}, status=200 if all(checks.values()) else 503)


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    _check_may_read(request)
    body = measures.as_text([measure async for measure in _collected(request.app)])
    return web.Response(body=body.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _check_may_read(request: web.Request) -> None:
    """From this host without a token: a request that came through a proxy is from the proxy's client."""
    server = request.app[SETTINGS].server
    if server.metrics_token is not None:
        sent = request.headers.get("Authorization", "")
        if hmac.compare_digest(sent.encode(), f"Bearer {server.metrics_token.get_secret_value()}".encode()):
            return
    address = client_address(request, server.trusted_proxies)
    was_forwarded = "X-Forwarded-For" in request.headers and not server.trusted_proxies
    if was_forwarded or not _is_loopback(address):
        raise Forbidden("metrics_refused", "Metrics are read from this host or with the metrics token.")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


async def _database_answers(app: web.Application) -> bool:
    try:
        async with app[DATABASE].reading() as session:
            await session.execute(text("SELECT 1"))
    except Exception:
        return False
    return True


def _media_stats(app: web.Application) -> Any:
    try:
        return app[MEDIA].stats()
    except Exception:
        return None


async def _collected(app: web.Application) -> AsyncIterator[Measure]:
    for measure in _of_this_process(app):
        yield measure
    backlog = await app[OUTBOX].backlog()
    yield gauge("outbox_waiting", backlog.waiting)
    yield gauge("outbox_dead", backlog.dead)
    yield gauge("outbox_lag_seconds", backlog.lag_s)


def _of_this_process(app: web.Application) -> Iterable[Measure]:
    watch = app[LOOP_WATCH]
    yield gauge("event_loop_lag_seconds", watch.take_longest_s())
    yield counter("event_loop_late_seconds", watch.total_s)
    yield gauge("live_pages", app[LIVE].open_pages)
    yield counter("live_overflows", app[LIVE].overflows)
    yield counter("rate_limited", app[LIMITS].refused)
    scheduler = app.get(SCHEDULER)
    if scheduler is not None:
        yield gauge("scheduler_lag_seconds", scheduler.lag.seconds)
        yield counter("scheduler_rounds", scheduler.lag.rounds)
        yield counter("scheduler_failed", scheduler.lag.failed)
    stats = _media_stats(app)
    if stats is not None:
        yield from measures.media_measures(stats)
