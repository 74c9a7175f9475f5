"""Problem reports: the staff's list, and one report for whoever may know of it. control/problems.py decides."""

from __future__ import annotations

from aiohttp import web

from control import audit
from control.accounts import require_actor
from control.help_numbers import countries, help_for
from control.keys import DATABASE, PROBLEMS
from control.language import N_, t
from control.messages import STAFF
from control.models.problems import ProblemKind
from web.render import render

routes = web.RouteTableDef()

KINDS = {
    ProblemKind.TECHNICAL: N_("Something technical"),
    ProblemKind.UNSAFE: N_("Uncomfortable or unsafe"),
    ProblemKind.URGENT: N_("Urgent help"),
}
_STEPS = {
    "problem.report": N_("Reported"),
    "problem.alert_again": N_("Told again"),
    "problem.take": N_("Taken"),
    "problem.close": N_("Closed"),
}


@routes.get("/admin/problems")
async def listed(request: web.Request) -> web.StreamResponse:
    found = await request.app[PROBLEMS].listed(require_actor(request))
    return render(
        request,
        "admin/problems.html",
        rows=found,
        kinds={kind: t(words) for kind, words in KINDS.items()},
        unverified=_unverified(),
    )


@routes.get("/admin/help-numbers")
async def help_numbers(request: web.Request) -> web.StreamResponse:
    require_actor(request, *STAFF)
    return render(request, "admin/help_numbers.html", rows=countries(), unverified=_unverified())


def _unverified() -> int:
    return sum(one.verified_on is None for one in countries())


@routes.get("/problems/{id:[0-9a-f]{32}}")
async def one(request: web.Request) -> web.StreamResponse:
    report = await request.app[PROBLEMS].get(require_actor(request), request.match_info["id"])
    entries = await audit.entries_about(request.app[DATABASE], f"problem:{report.id}")
    steps = [
        (entry.at, t(_STEPS[entry.action]), entry.detail.get("told")) for entry in entries if entry.action in _STEPS
    ]
    urgent = report.kind is ProblemKind.URGENT
    return render(
        request,
        "problem.html",
        report=report,
        kind_words=t(KINDS[report.kind]),
        steps=steps,
        help=help_for(report.country) if urgent else None,
    )
