"""The typed keys under which the application and a request carry their parts. Nothing else knows their names."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from control.accounts import Actor
    from control.chat import Chat
    from control.client_files import ClientFiles
    from control.config import Settings
    from control.database import Database
    from control.erasing import Erasing
    from control.errors import Problem
    from control.exports import Exports
    from control.files import Files
    from control.keyfiles import InstallKeys
    from control.limits import Limits
    from control.measures import LoopWatch
    from control.messages import MessageRules
    from control.money.cashier import Cashier
    from control.network_test import NetworkTests
    from control.notices.live import LiveBus
    from control.notices.push import Sender
    from control.notices.worker import OutboxWorker
    from control.problems import Problems
    from control.quality import QualityLog
    from control.recording_archive import Archive
    from control.recording_composing import Composer
    from control.recording_ports import RecorderPort
    from control.recordings import Recordings
    from control.scheduler import Scheduler
    from control.second_factor import FactorRules
    from control.session_watch import SessionWatch
    from control.waiting_room import WaitingRoom
    from control.web_sessions import Visit
    from control.zendesk_desk import ZendeskDesk
    from media.node import MediaNode
    from signaling.hub import Hub

SETTINGS: web.AppKey["Settings"] = web.AppKey("holdspace.settings")
DATABASE: web.AppKey["Database"] = web.AppKey("holdspace.database")
CLOCK: web.AppKey[Callable[[], datetime]] = web.AppKey("holdspace.clock")
MEDIA: web.AppKey["MediaNode"] = web.AppKey("holdspace.media")
HUB: web.AppKey["Hub"] = web.AppKey("holdspace.hub")
RECORDER: web.AppKey["RecorderPort"] = web.AppKey("holdspace.recorder")
RECORDINGS: web.AppKey["Recordings"] = web.AppKey("holdspace.recordings")
COMPOSER: web.AppKey["Composer"] = web.AppKey("holdspace.composer")
ARCHIVE: web.AppKey["Archive"] = web.AppKey("holdspace.archive")
QUALITY: web.AppKey["QualityLog"] = web.AppKey("holdspace.quality")
MESSAGES: web.AppKey["MessageRules"] = web.AppKey("holdspace.messages")
# None without Zendesk.
ZENDESK: web.AppKey["ZendeskDesk | None"] = web.AppKey("holdspace.zendesk")
OUTBOX: web.AppKey["OutboxWorker"] = web.AppKey("holdspace.outbox")
# None while push is switched off.
PUSH_SENDER: web.AppKey["Sender | None"] = web.AppKey("holdspace.push_sender")
LIVE: web.AppKey["LiveBus"] = web.AppKey("holdspace.live")
LOOP_WATCH: web.AppKey["LoopWatch"] = web.AppKey("holdspace.loop_watch")
WAITING_ROOM: web.AppKey["WaitingRoom"] = web.AppKey("holdspace.waiting_room")
SCHEDULER: web.AppKey["Scheduler"] = web.AppKey("holdspace.scheduler")
CASHIER: web.AppKey["Cashier"] = web.AppKey("holdspace.cashier")
SESSION_WATCH: web.AppKey["SessionWatch"] = web.AppKey("holdspace.session_watch")
CLIENT_FILES: web.AppKey["ClientFiles"] = web.AppKey("holdspace.client_files")
CHAT: web.AppKey["Chat"] = web.AppKey("holdspace.chat")
PROBLEMS: web.AppKey["Problems"] = web.AppKey("holdspace.problems")
ERASING: web.AppKey["Erasing"] = web.AppKey("holdspace.erasing")
EXPORTS: web.AppKey["Exports"] = web.AppKey("holdspace.exports")
FILES: web.AppKey["Files"] = web.AppKey("holdspace.files")
NETWORK_TESTS: web.AppKey["NetworkTests"] = web.AppKey("holdspace.network_tests")
LIMITS: web.AppKey["Limits"] = web.AppKey("holdspace.limits")
FACTOR_RULES: web.AppKey["FactorRules"] = web.AppKey("holdspace.factor_rules")
INSTALL_KEYS: web.AppKey["InstallKeys"] = web.AppKey("holdspace.install_keys")
# Draws a Problem as a page; set by the pages' setup(app). Without it requests.py writes a plain one.
ERROR_PAGE: web.AppKey[Callable[[web.Request, "Problem"], web.Response]] = web.AppKey("holdspace.error_page")

# Per request, set by the middleware in control/requests.py.
ACTOR: web.RequestKey["Actor | None"] = web.RequestKey("holdspace.actor")
# Somebody whose second factor is still due, and whether they have one.
HALF: web.RequestKey["Visit | None"] = web.RequestKey("holdspace.half")
# Whether the request came with a bearer token instead of a cookie.
BY_TOKEN: web.RequestKey[bool] = web.RequestKey("holdspace.by_token")
SESSION_ID: web.RequestKey["str | None"] = web.RequestKey("holdspace.session_id")
REQUEST_ID: web.RequestKey[str] = web.RequestKey("holdspace.request_id")
VISITOR: web.RequestKey[str] = web.RequestKey("holdspace.visitor")
