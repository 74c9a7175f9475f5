"""The outbox for admins: what was sent, what is kept to be read, what was given up and may be tried again."""

from aiohttp import web

from control import audit
from control.accounts import require_actor
from control.api.bodies import EmptyBody, PageQuery, read, read_query
from control.api.idempotency import idempotent
from control.api.shapes import ID_PATTERN, iso, maybe_iso
from control.keys import CLOCK, DATABASE
from control.models.outbox import OutboxState
from control.models.people import Role
from control.notices.sent import SentMail, page_of_outbox, try_again
from control.paging import Wanted, place_of

routes = web.RouteTableDef()


class OutboxQuery(PageQuery):
    state: OutboxState | None = None


@routes.get("/api/outbox")
async def outbox(request: web.Request) -> web.Response:
    """Letters hold names and may hold sign-in links, so each look is in the audit log."""
    actor = require_actor(request, Role.ADMIN)
    query = read_query(request, OutboxQuery)
    wanted = Wanted(query.limit, place_of(query.cursor))
    db = request.app[DATABASE]
    async with db.transaction() as session:
        audit.record(session, actor, "outbox.viewed", "outbox:all", now=request.app[CLOCK]())
    page = await page_of_outbox(db, actor, wanted, state=query.state)
    answer = web.json_response({"letters": [_as_json(one) for one in page.rows], "next_cursor": page.next_cursor})
    answer.headers["Cache-Control"] = "no-store"
    return answer


@routes.post(f"/api/outbox/{{id:{ID_PATTERN}}}/retry")
@idempotent()
async def retry(request: web.Request) -> web.Response:
    """Try a letter again that was given up."""
    actor = require_actor(request, Role.ADMIN)
    await read(request, EmptyBody)
    letter = await try_again(request.app[DATABASE], actor, request.match_info["id"], now=request.app[CLOCK]())
    return web.json_response(_as_json(letter))


def _as_json(letter: SentMail) -> dict[str, object]:
    return {
        "id": letter.id,
        "kind": letter.kind,
        "channel": letter.channel,
        "state": letter.state,
        "to": letter.to_address,
        "subject": letter.subject_line,
        "text": letter.body_text,
        "html": letter.body_html,
        "calendar": letter.calendar,
        "created_at": iso(letter.created_at),
        "sent_at": maybe_iso(letter.sent_at),
        "next_attempt_at": iso(letter.next_attempt_at),
        "attempts": letter.attempts,
        "last_error": letter.last_error,
    }
