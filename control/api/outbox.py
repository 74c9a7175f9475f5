"""The outbox for admins: what was sent, what is kept to be read, what was given up."""

from aiohttp import web

from control import audit
from control.accounts import require_actor
from control.keys import CLOCK, DATABASE
from control.models.people import Role
from control.notices.sent import SentMail, recent

routes = web.RouteTableDef()

PAGE = 100


@routes.get("/api/outbox")
async def outbox(request: web.Request) -> web.Response:
    """Letters hold names and may hold sign-in links, so each look is in the audit log."""
    actor = require_actor(request, Role.ADMIN)
    db = request.app[DATABASE]
    async with db.transaction() as session:
        audit.record(session, actor, "outbox.viewed", "outbox:all", now=request.app[CLOCK]())
    letters = await recent(db, PAGE)
    answer = web.json_response({"letters": [_as_json(letter) for letter in letters]})
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _as_json(letter: SentMail) -> dict[str, object]:
    return {
        "id": letter.id,
        "kind": letter.kind,
        "state": letter.state,
        "to": letter.to_address,
        "subject": letter.subject_line,
        "text": letter.body_text,
        "html": letter.body_html,
        "calendar": letter.calendar,
        "created_at": letter.created_at.isoformat(),
        "sent_at": letter.sent_at.isoformat() if letter.sent_at else None,
        "next_attempt_at": letter.next_attempt_at.isoformat(),
        "attempts": letter.attempts,
        "last_error": letter.last_error,
    }
