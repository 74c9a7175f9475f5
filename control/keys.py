"""The typed keys under which the application and a request carry their parts. Nothing else knows their names."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from control.accounts import Actor
    from control.config import Settings
    from control.database import Database
    from control.limits import Limits
    from control.notices.live import LiveBus
    from control.notices.outbox import OutboxWorker
    from media.node import MediaNode
    from signaling.hub import Hub

SETTINGS: web.AppKey["Settings"] = web.AppKey("holdspace.settings")
DATABASE: web.AppKey["Database"] = web.AppKey("holdspace.database")
CLOCK: web.AppKey[Callable[[], datetime]] = web.AppKey("holdspace.clock")
MEDIA: web.AppKey["MediaNode"] = web.AppKey("holdspace.media")
HUB: web.AppKey["Hub"] = web.AppKey("holdspace.hub")
RECORDER: web.AppKey[Any] = web.AppKey("holdspace.recorder")
OUTBOX: web.AppKey["OutboxWorker"] = web.AppKey("holdspace.outbox")
LIVE: web.AppKey["LiveBus"] = web.AppKey("holdspace.live")
LIMITS: web.AppKey["Limits"] = web.AppKey("holdspace.limits")

# Per request, set by the middleware in control/requests.py.
ACTOR: web.RequestKey["Actor | None"] = web.RequestKey("holdspace.actor")
SESSION_ID: web.RequestKey["str | None"] = web.RequestKey("holdspace.session_id")
REQUEST_ID: web.RequestKey[str] = web.RequestKey("holdspace.request_id")
