"""Turns a template and a view's values into a page: the Jinja environment, what every page gets, the reader's zone.

Flow: a view reads through control's functions, then calls `render`. Templates always have actor, csrf_token,
practice, now, zone, demo, lang, home_url, static() and module(); _() and ngettext() write in the
language of the request. Nothing here reads the database or decides anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import aiohttp_jinja2
import jinja2
import jinja2.bccache
from aiohttp import web

from control.accounts import optional_actor
from control.errors import Problem
from control.keys import CLOCK, REQUEST_ID, SETTINGS
from control.language import LANGUAGES, N_, look_up, look_up_plural, spoken
from control.security import csrf_token
from web import words
from web.links import with_links
from web.script_words import words_url

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
STATIC = HERE / "static"
TEMPLATES = HERE / "templates"

#: Cookie in which the browser leaves its IANA zone (base.js), for readers who are not signed in.
ZONE_COOKIE = "zone"


@dataclass(frozen=True)
class Reader:
    """Who reads the page, as templates see them."""

    person_id: str
    name: str
    time_zone: str
    roles: frozenset[str]

    @property
    def is_client(self) -> bool:
        return "client" in self.roles

    @property
    def is_practitioner(self) -> bool:
        return "practitioner" in self.roles

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles

    @property
    def is_staff(self) -> bool:
        """Reads problem reports and works the help desk; a practitioner reads the reports of their own sessions."""
        return bool({"admin", "support"} & self.roles)

    @property
    def is_visitor(self) -> bool:
        """Comes to sessions: clients, and guests, who have no role."""
        return self.is_client or not self.roles


def setup_templates(app: web.Application) -> None:
    env = aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        bytecode_cache=_kept_templates(),
    )
    env.install_gettext_callables(look_up, look_up_plural, newstyle=True)  # type: ignore[attr-defined]
    env.filters.update(words.FILTERS, with_links=with_links)
    env.filters.update(
        {said.__name__: _with_year(said) for said in (words.day, words.iso_day, words.long_day, words.when)}
    )
    env.globals.update(static=static_url, module=module_url, greeting=words.greeting, day_length=timedelta(hours=20))


class _KeptTemplates(jinja2.FileSystemBytecodeCache):
    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the next start its speed, and no page
            super().dump_bytecode(bucket)


def _kept_templates() -> _KeptTemplates | None:
    """In the temporary folder of the server's user; Jinja checks whose it is and who may write there."""
    try:
        return _KeptTemplates(pattern=f"__jinja2_{_filters_digest()}_%s.cache")
    except (OSError, RuntimeError) as error:
        log.warning("compiled templates are not kept, every start compiles them anew reason=%s", error)
        return None


def _filters_digest() -> str:
    """A compiled page holds how its filters are called: those of another release don't fit."""
    sources = (Path(words.__file__), Path(__file__))
    return hashlib.sha256(b"".join(one.read_bytes() for one in sources)).hexdigest()[:16]


def _with_year(said: Callable[..., str]) -> Callable[..., str]:
    """The same words, with the year where it is not the one in which the page is read."""

    @jinja2.pass_context
    def filtered(context: jinja2.runtime.Context, *at: Any) -> str:
        return said(*at, this_year=words.year(context["now"], context["zone"]))

    return filtered


def compile_templates(app: web.Application) -> None:
    """Before anybody asks for a page: compiling one holds the loop for up to 0.2 s. Kept on disk for the next start."""
    env = aiohttp_jinja2.get_env(app)
    for name in env.list_templates():
        env.get_template(name)


def render(request: web.Request, template: str, *, status: int = 200, **context: Any) -> web.Response:
    """A page that is never cached: it holds one person's data."""
    page = aiohttp_jinja2.render_template(template, request, {**every_page(request), **context}, status=status)
    page.headers["Cache-Control"] = "no-store"
    return page


def every_page(request: web.Request) -> Mapping[str, Any]:
    reader = reader_of(request)
    settings = request.app[SETTINGS]
    return {
        "actor": reader,
        "csrf_token": csrf_token(request),
        "practice": settings.practice,
        "now": request.app[CLOCK](),
        "zone": zone_of(request),
        "zone_known": reader is not None or request.cookies.get(ZONE_COOKIE, "") in known_zones(),
        "demo": settings.demo,
        "hold_minutes": settings.booking.hold_minutes,
        "lang": spoken(),
        "offered_languages": {code: LANGUAGES[code] for code in settings.practice.languages},
        "script_words": words_url(spoken()),
        "home_url": home_url(reader),
    }


def error_page(request: web.Request, problem: Problem) -> web.Response:
    """What control/requests.py shows instead of a page that can't be had: what happened, what is safe, what to do."""
    title, detail = (look_up(words) for words in _ERROR_WORDS.get(problem.status, (problem.title, "")))
    return render(
        request,
        "error.html",
        status=problem.status,
        number=problem.status,
        title=title,
        detail=look_up(problem.detail) or detail,
        request_id=request.get(REQUEST_ID, "") if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "",
    )


_ERROR_WORDS = {
    403: (N_("This page is not for you"), N_("It belongs to somebody else, or to another role.")),
    404: (N_("There is nothing here"), N_("The page was moved, or it never was. Your sessions are where they were.")),
    405: (N_("There is nothing here"), N_("The page was moved, or it never was. Your sessions are where they were.")),
    429: (N_("A little too fast"), N_("Please wait a moment and try again.")),
    500: (N_("Something went wrong here"), N_("The mistake is ours, and nothing of yours was lost. Please try again.")),
    503: (N_("Back in a moment"), N_("The server is busy or restarting. Please try again.")),
}


def reader_of(request: web.Request) -> Reader | None:
    actor = optional_actor(request)
    if actor is None:
        return None
    return Reader(actor.person_id, actor.name, actor.time_zone, frozenset(str(role) for role in actor.roles))


def home_url(reader: Reader | None) -> str:
    """Where a person's day starts: the page behind the practice's name."""
    if reader is None:
        return "/"
    if reader.is_practitioner:
        return "/therapist/dashboard"
    if reader.is_admin:
        return "/admin/appointments"
    return "/admin/help-desk" if reader.is_staff else "/dashboard"


def zone_of(request: web.Request) -> str:
    """The reader's own zone, else the browser's, else the practice's. Unknown names from the cookie are ignored."""
    actor = optional_actor(request)
    if actor is not None:
        return actor.time_zone
    named = request.cookies.get(ZONE_COOKIE, "")
    return named if named in known_zones() else request.app[SETTINGS].practice.time_zone


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    return frozenset(available_timezones())


@lru_cache(maxsize=1)
def modules_version() -> str:
    """A hash of all modules and what they load: as a folder of the address it goes with every import of theirs."""
    whole = hashlib.sha256()
    for file in sorted(path for folder in ("js", "blur") for path in (STATIC / folder).rglob("*") if path.is_file()):
        whole.update(f"{file.relative_to(STATIC)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return f"v-{whole.hexdigest()[:10]}"


def module_url(name: str) -> str:
    """Where the module web/static/js/<name>.js is asked for: an address whose content never changes."""
    return f"/static/{modules_version()}/js/{name}.js"


@lru_cache(maxsize=64)
def static_url(path: str) -> str:
    """A style sheet's address with its content's hash, so that an update is seen at once."""
    file = STATIC / path
    if not file.is_file():
        return f"/static/{path}"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:10]
    return f"/static/{path}?v={digest}"
