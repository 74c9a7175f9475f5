"""Composes the application: every resource with its beginning and end, every route, and who listens to whom.

    database ─▶ outbox worker, live bus ─▶ media node ─▶ recorder ─▶ hub (signaling) ─▶ scheduler ─▶ pages and API

Resources start from left to right and end from right to left. This file and __main__.py are the only ones that may
import every package; nothing here decides anything about people or sessions.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aiohttp import web

from control import busy_times, keyfiles, language, message_errands, reschedules, security, turn
from control.api import (
    accounts,
    appointments,
    availability,
    availability_rules,
    calendars,
    chat,
    clients,
    consents,
    credits,
    desk,
    earnings,
    enquiries,
    factors,
    files,
    guests,
    health,
    live,
    mail_in,
    messages,
    my_data,
    my_practice,
    network_test,
    openapi,
    outbox,
    payments,
    people,
    practitioners,
    problems,
    push,
    ratings,
    recordings,
    refunds,
    room_control,
    series,
    session_lists,
    sessions,
    testimonials,
    wallet,
    webhooks,
)
from control.api import reschedules as reschedule_routes
from control.chat import Chat
from control.client_files import ClientFiles
from control.config import Settings
from control.database import upgrade
from control.erasing import Erasing
from control.export_parts import Sources
from control.exports import Exports
from control.files import Files
from control.install import open_database
from control.keys import (
    ARCHIVE,
    CASHIER,
    CHAT,
    CLIENT_FILES,
    CLOCK,
    COMPOSER,
    DATABASE,
    ERASING,
    EXPORTS,
    FACTOR_RULES,
    FILES,
    HUB,
    INSTALL_KEYS,
    LIMITS,
    LIVE,
    LOOP_WATCH,
    MEDIA,
    MESSAGES,
    NETWORK_TESTS,
    OUTBOX,
    PROBLEMS,
    PUSH_SENDER,
    QUALITY,
    RECORDER,
    RECORDINGS,
    SCHEDULER,
    SESSION_WATCH,
    SETTINGS,
    WAITING_ROOM,
    ZENDESK,
)
from control.limits import Limits, client_address, network_of
from control.measures import LoopWatch
from control.messages import open_secrets, rules_from
from control.money.cashier import Cashier
from control.money.gateways.configured import gateways_of
from control.network_test import NetworkTests
from control.notices.live import LiveBus
from control.notices.push import sender_of
from control.notices.worker import OutboxWorker
from control.problems import Problems
from control.quality import QualityLog
from control.recording_archive import Archive
from control.recording_commands import in_use
from control.recording_composing import Composer
from control.recordings import Recordings
from control.requests import MIDDLEWARES
from control.room_news import forward_news
from control.scheduler import Errand, Scheduler, seldom
from control.second_factor import FactorRules
from control.session_events import forward_sign_outs, forward_to
from control.session_watch import SessionWatch
from control.testimonials import remind as remind_of_testimonials
from control.waiting_room import WaitingRoom
from control.zendesk_desk import desk_from
from media.node import MediaNode
from recorder.recorder import Recorder
from signaling.hub import Hub
from signaling.settings import HubSettings
from web import views
from web.blur_assets import MODEL
from web.render import compile_templates

log = logging.getLogger(__name__)

API_NOUNS = (
    accounts,
    factors,
    people,
    live,
    health,
    openapi,
    outbox,
    availability,
    availability_rules,
    calendars,
    clients,
    my_practice,
    session_lists,
    sessions,
    series,
    appointments,
    reschedule_routes,
    guests,
    chat,
    room_control,
    problems,
    files,
    network_test,
    consents,
    ratings,
    testimonials,
    practitioners,
    wallet,
    credits,
    payments,
    refunds,
    earnings,
    webhooks,
    recordings,
    messages,
    enquiries,
    mail_in,
    my_data,
    desk,
    push,
)


def utc_now() -> datetime:
    return datetime.now(UTC)


def create_app(
    settings: Settings, *, clock: Callable[[], datetime] = utc_now, media: Any | None = None
) -> web.Application:
    """The whole application. `media` replaces the media node in tests that need none."""
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=settings.server.max_body_bytes)
    app[SETTINGS] = settings
    app[CLOCK] = clock
    app[INSTALL_KEYS] = keyfiles.load(settings)
    for one in settings.practice.languages:
        language.load(one)
    app[DATABASE] = open_database(settings)
    app[FACTOR_RULES] = FactorRules.from_master_key(
        app[INSTALL_KEYS].master_key, for_staff=settings.security.second_factor, demo=settings.demo
    )
    app[LIMITS] = Limits()
    app[LIVE] = LiveBus()
    in_zendesk = settings.zendesk.url is not None
    app[MESSAGES] = rules_from(
        settings.messages,
        app[INSTALL_KEYS].master_key,
        languages=settings.practice.languages,
        zendesk=in_zendesk,
    )
    app[ZENDESK] = desk_from(settings.zendesk, app[DATABASE], app[MESSAGES], settings.practice.name)
    opener = partial(open_secrets, app[MESSAGES])
    app[PUSH_SENDER] = sender_of(settings)
    app[OUTBOX] = OutboxWorker(app[DATABASE], settings, clock, open_secrets=opener, push_sender=app[PUSH_SENDER])
    app[MEDIA] = media if media is not None else MediaNode(settings.media, blur_model=MODEL)
    app[LOOP_WATCH] = LoopWatch()
    app[CLIENT_FILES] = ClientFiles(app[DATABASE], app[INSTALL_KEYS].master_key)
    app[CASHIER] = Cashier(app[DATABASE], gateways_of(settings), clock, hold=settings.booking.hold)
    read_calendars = partial(busy_times.read_due, app[DATABASE], rules=busy_times.rules_from(settings))
    expire_requests = partial(reschedules.expire_due, app[DATABASE])
    app[PROBLEMS] = Problems(app[DATABASE], app[INSTALL_KEYS].master_key)
    escalate = app[PROBLEMS].escalate_due
    app[FILES] = _files(app, settings)
    app[CHAT] = Chat(app[DATABASE], app[INSTALL_KEYS].master_key)
    app[EXPORTS] = _exports(app, settings)
    forget_files = app[FILES].forget_unfinished
    mine = message_errands.errands(settings.messages, app[DATABASE], app[MESSAGES], app[ZENDESK])
    errands: tuple[Errand, ...] = (
        read_calendars,
        expire_requests,
        escalate,
        forget_files,
        app[EXPORTS].run_once,
        seldom(partial(remind_of_testimonials, app[DATABASE], settings.notices.testimonials), timedelta(minutes=10)),
        # Asked late: erasing needs the recordings' archive, which needs the hub, which needs this.
        lambda now: app[ERASING].run_once(now),
        *mine,
        app[CASHIER].run_once,
    )
    app[SCHEDULER] = Scheduler(app[DATABASE], clock, errands=errands)
    app[WAITING_ROOM] = WaitingRoom(
        app[DATABASE],
        app[INSTALL_KEYS].session_secret,
        clock,
        base_url=settings.server.public_url,
        # Asked late: recordings need the hub, which needs this.
        recording_state=lambda appointment_id: app[RECORDINGS].state_of(appointment_id),
    )
    app[HUB] = Hub(
        app[MEDIA],
        app[WAITING_ROOM],
        HubSettings(
            app[INSTALL_KEYS].session_secret,
            security.own_origins(settings.server),
            ice_servers=lambda admission, now: turn.ice_servers(settings.turn, admission.person_id, now),
            network_of=lambda request: network_of(client_address(request, settings.server.trusted_proxies)),
        ),
        clock=clock,
    )
    app[QUALITY] = QualityLog(app[DATABASE], app[HUB], clock)
    recorder = Recorder(app[MEDIA], settings.recordings_dir, app[INSTALL_KEYS].recording_key, clock)
    app[RECORDER] = recorder
    _add_recordings(app, recorder, settings, clock)
    app[NETWORK_TESTS] = NetworkTests(app[DATABASE], app[MEDIA])
    app[ERASING] = Erasing(app[DATABASE], app[CHAT], app[FILES], app[EXPORTS], app[ARCHIVE])
    app[SESSION_WATCH] = SessionWatch(app[DATABASE], app[HUB], app[RECORDINGS])
    app.cleanup_ctx.extend((_database, _notices, _media, _recordings, _sessions, _loop_watch))
    app.on_shutdown.append(_close_sockets)
    app.on_response_prepare.append(security.add_security_headers)
    _add_routes(app)
    return app


def _add_recordings(
    app: web.Application, recorder: Recorder, settings: Settings, clock: Callable[[], datetime]
) -> None:
    db = app[DATABASE]
    notice, keep = (timedelta(days=n) for n in (settings.recording.notice_days, settings.recording.retention_days))
    app[COMPOSER] = composer = Composer(db, recorder, clock)
    app[ARCHIVE] = archive = Archive(db, recorder, clock, notice=notice, on_composable=composer.wake)

    async def finished(recording_id: str) -> None:
        await archive.carry_out_erasures(recording_id)
        composer.wake()

    app[RECORDINGS] = Recordings(db, recorder, app[HUB], clock, keep=keep, on_finished=finished)


def _files(app: web.Application, settings: Settings) -> Files:
    return Files(
        app[DATABASE],
        settings.server.data_dir / "files",
        app[INSTALL_KEYS].master_key,
        most_bytes=settings.files.most_mb * 1_000_000,
        chunk_bytes=settings.server.max_body_bytes,
    )


def _exports(app: web.Application, settings: Settings) -> Exports:
    sources = Sources(app[DATABASE], app[MESSAGES], app[CHAT], app[FILES], app[PROBLEMS], app[CLIENT_FILES])
    folder, key = settings.server.data_dir / "exports", app[INSTALL_KEYS].master_key
    return Exports(app[DATABASE], folder, key, sources, app[LIVE].publish, languages=settings.practice.languages)


def _add_routes(app: web.Application) -> None:
    app.router.add_get("/signaling", app[HUB].handle)
    for noun in API_NOUNS:
        app.add_routes(noun.routes)
    views.setup(app)


async def _database(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    if settings.database.upgrade_on_start:
        await asyncio.to_thread(upgrade, settings.database_url)
    await app[DATABASE].connect()
    yield
    await app[DATABASE].close()


async def _notices(app: web.Application) -> AsyncIterator[None]:
    app[DATABASE].subscribe(app[LIVE].after_commit)
    app[DATABASE].subscribe(app[OUTBOX].after_commit)
    await app[OUTBOX].start()
    yield
    await app[OUTBOX].close()


async def _media(app: web.Application) -> AsyncIterator[None]:
    await app[MEDIA].start()
    yield
    await app[NETWORK_TESTS].close()
    await app[MEDIA].close()


async def _recordings(app: web.Application) -> AsyncIterator[None]:
    """What a crash left is finished beside the first requests, not before them."""
    with in_use(app[SETTINGS].recordings_dir):
        for part in (app[RECORDINGS], app[COMPOSER], app[ARCHIVE]):
            await part.start()
        yield
        for part in (app[ARCHIVE], app[COMPOSER], app[RECORDINGS]):
            await part.close()
        await app[RECORDER].close()
    await app[QUALITY].close()


async def _sessions(app: web.Application) -> AsyncIterator[None]:
    forward_to(app[DATABASE], app[HUB])
    forward_news(app[DATABASE], app[HUB])
    forward_sign_outs(app[DATABASE], app[HUB].sign_out)
    await app[SCHEDULER].start()
    await app[SESSION_WATCH].start()
    yield
    await app[SESSION_WATCH].close()
    await app[SCHEDULER].close()
    zendesk = app[ZENDESK]
    if zendesk is not None:
        await zendesk.close()
    await app[CASHIER].close()


async def _loop_watch(app: web.Application) -> AsyncIterator[None]:
    app[LOOP_WATCH].start()
    yield
    await app[LOOP_WATCH].close()


async def _close_sockets(app: web.Application) -> None:
    """Before aiohttp waits for handlers: pages with open sockets are told to come back."""
    app[LIVE].close()
    await app[HUB].close()


async def prepare_pages(app: web.Application) -> None:
    """Once, before anybody is served; what needs no templates, as most tests, goes without."""
    await asyncio.to_thread(compile_templates, app)
