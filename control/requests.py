"""The middleware every request passes, in this order: id and errors → who is asking → may this page change things.

The one place where an exception becomes an answer: problem+json (RFC 9457) for the API, a page for people. Handlers
and rules below raise `control.errors.Problem` and know nothing of it.
"""

import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from html import escape
from http import HTTPStatus
from urllib.parse import quote

from aiohttp import web
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control import security
from control.errors import Malformed, NotFound, NotSignedIn, Problem, Unavailable
from control.keys import (
    ACTOR,
    BY_TOKEN,
    CLOCK,
    DATABASE,
    ERROR_PAGE,
    FACTOR_RULES,
    HALF,
    LIMITS,
    REQUEST_ID,
    SESSION_ID,
    SETTINGS,
)
from control.language import N_, choose, look_up, speak
from control.limits import Rule
from control.models.people import SessionKind
from control.web_sessions import Visit, session_of

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSON_PREFIXES = ("/api/", "/professional/", "/signaling", "/healthz", "/readyz", "/metrics")
NO_COOKIES_NEEDED = ("/static/", "/healthz", "/readyz", "/metrics", "/signaling", "/calendar/")
# Called by machines that have no cookie and no page; each proves itself by a signature of its own.
NO_CSRF: frozenset[str] = frozenset(
    {
        *("/api/webhooks/stripe", "/api/webhooks/razorpay", "/api/payments/razorpay-return"),
        *("/api/webhooks/mail", "/api/webhooks/zendesk"),
    }
)
# Called by apps, which have no page either and send their credentials. A browser always names its Origin here.
FOR_APPS: frozenset[str] = frozenset({"/api/tokens"})


def wants_json(request: web.Request) -> bool:
    if request.headers.get("Sec-Fetch-Dest") == "document":
        return False  # a person looks at it: a file's link that is gone, or where a gateway's page has sent them
    if request.path.startswith(JSON_PREFIXES) or request.method not in security.SAFE_METHODS:
        return True
    return "text/html" not in request.headers.get("Accept", "text/html")


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[REQUEST_ID] = secrets.token_hex(6)
    _speak(request)
    response = await _answered(request, handler)
    security.remember_visitor(request, response)
    return response


def _speak(request: web.Request, theirs: str | None = None) -> None:
    """Pages and refusals in the language the person chose, else in what was chosen in this browser, else in its own."""
    chosen = request.cookies.get(security.LANGUAGE_COOKIE)
    accepts = request.headers.get("Accept-Language", "")
    speak(choose(request.app[SETTINGS].practice.languages, theirs, chosen, accepts=accepts))


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        log.info(
            "refused code=%s status=%d method=%s path=%s request=%s",
            problem.code,
            problem.status,
            request.method,
            _loggable_path(request),
            request[REQUEST_ID],
        )
        return _answer(request, problem)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        answer = _answer(request, _from_http(error))
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except (OperationalError, PoolTimeout):
        log.exception("database not available request=%s", request[REQUEST_ID])
        return _answer(request, Unavailable("database_busy", "Please try again in a moment.", retry_after_s=2))
    except Exception:
        log.exception(
            "failed method=%s path=%s request=%s", request.method, _loggable_path(request), request[REQUEST_ID]
        )
        detail = N_("The mistake is ours. Nothing you did was lost before it; please try again.")
        return _answer(request, Problem("internal_error", detail))


def _loggable_path(request: web.Request) -> str:
    """The route's pattern where there is one: a path may hold a one-time token."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(unknown)"


def _from_http(error: web.HTTPException) -> Problem:
    if error.status == HTTPStatus.NOT_FOUND:
        return NotFound()
    status = HTTPStatus(error.status)
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    return Problem(code, "", title=status.phrase, status=error.status)


def _answer(request: web.Request, problem: Problem) -> web.Response:
    if isinstance(problem, NotSignedIn) and not wants_json(request):
        response = web.Response(status=303)
        page = "/sign-in/second-step" if problem.code == "second_factor_required" else "/sign-in"
        response.headers["Location"] = f"{page}?next=" + quote(request.path_qs, safe="")
    elif wants_json(request):
        response = problem_document(problem, request[REQUEST_ID])
    else:
        response = _page(request, problem)
    response.headers["Cache-Control"] = "no-store"
    if "retry_after_s" in problem.extra:
        response.headers["Retry-After"] = str(problem.extra["retry_after_s"])
    return response


def problem_document(problem: Problem, request_id: str) -> web.Response:
    members = {
        "type": f"urn:holdspace:problem:{problem.code}",
        "title": look_up(problem.title),
        "status": problem.status,
        "detail": look_up(problem.detail),
        "code": problem.code,
        "request_id": request_id,
        **problem.extra,
    }
    return web.Response(
        status=problem.status,
        body=json.dumps(members, default=str).encode(),
        content_type="application/problem+json",
    )


def _page(request: web.Request, problem: Problem) -> web.Response:
    draw = request.app.get(ERROR_PAGE)
    if draw is not None:
        try:
            return draw(request, problem)
        except Exception:
            log.exception("error page failed request=%s", request[REQUEST_ID])
    text = (
        f"<!doctype html><html lang=en><title>{escape(problem.title)}</title><h1>{escape(problem.title)}</h1>"
        f"<p>{escape(problem.detail)}</p><p>Request {escape(request[REQUEST_ID])}</p><p><a href=/>Home</a></p>"
    )
    return web.Response(status=problem.status, text=text, content_type="text/html")


@web.middleware
async def find_session(request: web.Request, handler: Handler) -> web.StreamResponse:
    """By the bearer token of an app if one is sent, else by the browser's cookie."""
    request[ACTOR] = request[HALF] = request[SESSION_ID] = None
    request[BY_TOKEN] = False
    if not request.path.startswith(NO_COOKIES_NEEDED):
        visit = await _visit(request)
        if visit is not None:
            request[SESSION_ID] = visit.session_id
            if visit.awaits_factor:
                request[HALF] = visit
            else:
                request[ACTOR] = visit.actor
            _speak(request, visit.actor.language)
    return await handler(request)


async def _visit(request: web.Request) -> Visit | None:
    """A cookie that is no longer valid is nobody; a token that is not valid is a mistake to be told of."""
    credential = security.credential_of(request)
    if credential is None:
        return None
    token, kind = credential
    app = request.app
    visit = await session_of(app[DATABASE], token, rules=app[FACTOR_RULES], kind=kind, now=app[CLOCK]())
    if kind is SessionKind.APP:
        if visit is None or visit.awaits_factor:
            raise NotSignedIn("token_invalid", "This bearer token is unknown, has expired, or was revoked.")
        request[BY_TOKEN] = True
    return visit


@web.middleware
async def guard_changes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every method that may change something, and every socket of ours, must come from our own page."""
    if "\x00" in request.path:
        raise Malformed("malformed_path", "The address can't be read.")
    if request.method not in security.SAFE_METHODS:
        # No browser sends an Authorization header by itself: who has the token means it.
        by_app = request.path in FOR_APPS and "Origin" not in request.headers
        if request.path not in NO_CSRF and not request[BY_TOKEN] and not by_app:
            security.check_origin(request)
            security.check_csrf(request)
        actor = request[ACTOR]
        if actor is not None:
            most = request.app[SETTINGS].security.writes_per_person
            rule = Rule("writes", most, timedelta(minutes=1))
            request.app[LIMITS].count(rule, actor.person_id, request.app[CLOCK]())
    elif request.path.startswith("/api/") and request.headers.get("Upgrade", "").lower() == "websocket":
        security.check_origin(request)
    return await handler(request)


MIDDLEWARES = (answer_errors, find_session, guard_changes)
