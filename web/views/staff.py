"""Pages of admins beside appointments and money: people, audit log, settings in force, the state of the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from control import audit, people
from control.accounts import require_actor
from control.config_reading import Key, keys
from control.errors import Malformed
from control.keys import CLOCK, DATABASE, LIVE, LOOP_WATCH, MEDIA, OUTBOX, SCHEDULER, SETTINGS
from control.language import look_up, t
from control.models.people import Role
from control.notices.kinds import NEVER_OFF, NoticeKind
from control.paging import Wanted, place_of
from web.log_words import done, done_to, more
from web.render import render
from web.setting_words import in_order, kind_words, section_words, value_words
from web.words import year

routes = web.RouteTableDef()


@dataclass(frozen=True)
class Fact:
    name: str
    value: str
    good: bool


_PAGE = 25
_MOST_QUERY = 100


def wanted_page(request: web.Request) -> Wanted:
    """A cursor that is not one of ours shows the first page."""
    try:
        return Wanted(_PAGE, place_of(request.query.get("cursor")))
    except Malformed:
        return Wanted(_PAGE)


def _text(request: web.Request, name: str) -> str:
    return request.query.get(name, "").replace("\x00", "").strip()[:_MOST_QUERY]


@routes.get("/admin/people")
async def everybody(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.ADMIN)
    query, role = _text(request, "q"), _text(request, "role")
    role_wanted = Role(role) if role in set(Role) else None
    page = await people.page_of_people(
        request.app[DATABASE], actor, wanted_page(request), query=query, role=role_wanted
    )
    return render(
        request,
        "admin/people.html",
        people=page.rows,
        more=page.next_cursor,
        query=query,
        role=role_wanted or "",
        roles=[str(one) for one in Role],
        keep=urlencode({"q": query, "role": role_wanted or ""}),
        paged="cursor" in request.query,
    )


@routes.get("/admin/audit")
async def audit_log(request: web.Request) -> web.StreamResponse:
    actor = require_actor(request, Role.ADMIN)
    action, subject = _text(request, "action"), _text(request, "subject")
    zone = actor.time_zone
    this_year = year(request.app[CLOCK](), zone)
    page = await audit.page_of_log(request.app[DATABASE], actor, wanted_page(request), action=action, subject=subject)
    return render(
        request,
        "admin/audit.html",
        entries=[(entry, name, done(entry), done_to(entry), more(entry, zone, this_year)) for entry, name in page.rows],
        more=page.next_cursor,
        action=action,
        subject=subject,
        keep=urlencode({"action": action, "subject": subject}),
        paged="cursor" in request.query,
    )


@routes.get("/admin/settings")
async def settings(request: web.Request) -> web.StreamResponse:
    """What is in force. Secrets are only said to be set; all of it is changed in the settings file and by a restart."""
    require_actor(request, Role.ADMIN)
    in_force = request.app[SETTINGS]
    sections: dict[str, list[tuple[Key, str, str, bool]]] = {}
    for key in sorted(keys(), key=in_order):
        holder = getattr(in_force, key.section) if key.section else in_force
        value = getattr(holder, key.name)
        sections.setdefault(key.section, []).append(
            (key, look_up(key.sentence), value_words(key, value), value != key.default)
        )
    off = set(in_force.notices.off)
    kinds = [(kind_words(kind), str(kind), kind in off, kind in NEVER_OFF) for kind in NoticeKind]
    named = [(section_words(section), rows) for section, rows in sections.items()]
    return render(request, "admin/settings.html", sections=named, kinds=kinds)


@routes.get("/admin/status")
async def status(request: web.Request) -> web.StreamResponse:
    """How the server is, for who runs it; the same numbers as /metrics, in words."""
    require_actor(request, Role.ADMIN)
    app = request.app
    backlog = await app[OUTBOX].backlog()
    lag = app[SCHEDULER].lag
    late_s = app[LOOP_WATCH].longest_s
    facts = [
        Fact(t("Pages following live"), str(app[LIVE].open_pages), good=True),
        Fact(t("Longest the server was held up"), f"{late_s * 1000:.0f} ms", good=late_s < 0.2),
        Fact(t("Scheduler's lag"), f"{lag.seconds:.0f} s", good=lag.seconds < 10),
        Fact(t("Scheduler's failed steps"), str(lag.failed), good=not lag.failed),
        Fact(t("Letters waiting"), str(backlog.waiting), good=backlog.lag_s < 300),
        Fact(t("Oldest letter waits"), f"{backlog.lag_s:.0f} s", good=backlog.lag_s < 300),
        Fact(t("Letters given up"), str(backlog.dead), good=not backlog.dead),
        *_media(app),
    ]
    return render(request, "admin/status.html", facts=facts, database=_database_words(request), at=app[CLOCK]())


def _media(app: web.Application) -> list[Fact]:
    try:
        stats: Mapping[str, Any] = app[MEDIA].stats()
    except RuntimeError:
        return [Fact(t("Media"), t("not running"), good=False)]
    names = {"rooms": t("Session rooms"), "transports": t("Connections"), "tracks": t("Tracks")}
    found = [Fact(words, str(stats[name]), good=True) for name, words in names.items() if name in stats]
    return [*found, Fact(t("Packets refused"), str(sum(stats.get("dropped", {}).values())), good=True)]


def _database_words(request: web.Request) -> str:
    return t("SQLite") if request.app[DATABASE].is_sqlite else t("PostgreSQL")
