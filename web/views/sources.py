"""Turns what control's read functions answer into the values of web/models.py: the one place that knows both shapes.

Everything a page shows of a row passes here, cut to what its reader may know. Reads only; raises what control raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from control import consents
from control import slots as control_slots
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.consents import Answer, Given, Purpose, answer_of
from control.joining import Explanation
from control.language import t, tn
from control.lifecycle import Party, opens_at
from control.money.policy import Outcome, Policy, is_late, settle
from control.practitioners import ProfileView, ServiceView
from control.reschedules import RequestView
from web import words
from web.models import Joining, Practitioner, Readiness, Service, Session, Slot


def session_of(view: SessionView) -> Session:
    return Session(
        id=view.id,
        state=str(view.state),
        starts_at=view.starts_at,
        ends_at=view.ends_at,
        opens_at=opens_at(view.facts),
        mode=view.mode,
        service_id=view.service_id,
        service_name=view.service_name,
        client_id=view.client_id,
        client_name=view.client_name,
        practitioner_id=view.practitioner_id,
        practitioner_name=view.practitioner_name,
        practitioner_zone=view.practitioner_time_zone,
        amount_minor=view.price_minor,
        currency=view.currency,
        payment=_payment(view),
        recording_offered=view.recording_offered,
        payment_method=view.payment_method or "",
        kept_minor=view.kept_minor or 0,
        needs_another_way=view.needs_another_way,
        hold_expires_at=view.hold_expires_at,
        started_at=view.started_at,
        ended_at=view.ended_at,
        reason=view.end_reason or "",
    )


def asked_of(
    sessions: Iterable[Session], requests: Mapping[str, RequestView], person_id: str
) -> list[tuple[Session, RequestView]]:
    """The requests to move one of `sessions` that wait for this person's answer."""
    found = [(one, requests[one.id]) for one in sessions if one.id in requests]
    return [(one, request) for one, request in found if request.asked_by != person_id]


def sessions_of(views: Iterable[SessionView]) -> list[Session]:
    return [session_of(view) for view in views]


def _payment(view: SessionView) -> str:
    if view.price_minor == 0:
        return "free"
    match view.payment_state:
        case "held":
            return "held"
        case "earned":
            return "partly" if view.refund_minor else "paid"
        case "released":
            return "refunded"
        case _:
            return "due" if view.state is State.PENDING else ""


def slot_of(slot: control_slots.Slot, zone: str, practitioner_zone: str) -> Slot:
    here = ZoneInfo(zone)
    return Slot(
        start=slot.start,
        day=slot.start.astimezone(here).date(),
        time=words.clock(slot.start, zone),
        other=_other(slot.start, zone, practitioner_zone),
        amount_minor=slot.price_minor,
        currency=slot.currency,
    )


def _other(start: datetime, zone: str, practitioner_zone: str) -> str:
    """As "15:00 in Lisbon", for the narrow place beside a slot."""
    other = words.other_zone(start, zone, practitioner_zone)
    if not other:
        return ""
    return t(
        "%(time)s in %(place)s",
        time=other.removesuffix(f" {words.zone_name(practitioner_zone)}"),
        place=words.zone_city(practitioner_zone),
    )


def practitioner_of(profile: ProfileView, next_free: datetime | None = None) -> Practitioner:
    return Practitioner(
        id=profile.id,
        name=profile.name,
        headline=profile.headline,
        time_zone=profile.time_zone,
        about=tuple(part for part in profile.about.split("\n\n") if part.strip()),
        languages=profile.languages,
        modalities=profile.modalities,
        services=tuple(service_of(one) for one in profile.services),
        rating=profile.rating.mean,
        rating_count=profile.rating.count,
        next_free=next_free,
    )


def service_of(view: ServiceView) -> Service:
    return Service(
        id=view.id,
        name=view.name,
        mode=view.mode,
        minutes=view.length_minutes,
        amount_minor=view.price_minor,
        currency=view.currency,
        recording_offered=view.recording_offered,
        description=view.description,
    )


def policy_words(late_window_minutes: int, late_fee_bp: int, no_show_fee_bp: int) -> str:
    """The cancellation terms in one sentence: what is free until when, and what is kept after."""
    hours = late_window_minutes // 60
    limit = tn("%(num)s hour before", "%(num)s hours before", hours) if hours else t("the start")
    if not late_fee_bp and not no_show_fee_bp:
        return t("Change or cancel for nothing at any time before the start.")
    late = t("Later, %(part)s", part=_part(late_fee_bp)) if late_fee_bp else t("Later, nothing either")
    missed = (
        t("if you don't come, %(part)s", part=_part(no_show_fee_bp, alone=True))
        if no_show_fee_bp
        else t("even if you don't come")
    )
    return t(
        "Change or cancel for nothing until %(limit)s. %(late)s; %(missed)s.", limit=limit, late=late, missed=missed
    )


def _part(bp: int, *, alone: bool = False) -> str:
    named = {5_000: t("half of the price"), 10_000: t("all of it") if alone else t("the whole price")}.get(bp)
    return named or t("%(percent)s %% of the price", percent=f"{bp / 100:g}")


def refund_words(view: SessionView, now: datetime) -> str:
    """What cancelling now gives back, for the question before it. Nothing to say about a free session."""
    if view.price_minor == 0 or view.payment_state != "held":
        return ""
    whole = words.money(view.price_minor, view.currency)
    policy = Policy(late_fee_bp=view.late_fee_bp, late_window=timedelta(minutes=view.late_window_minutes))
    late = view.party is Party.CLIENT and is_late(min(view.starts_at, view.late_from or view.starts_at), now, policy)
    outcome = Outcome.CANCELLED_LATE if late else Outcome.RELEASED
    shares = settle(view.price_minor, outcome, policy)
    if not shares.kept_minor:
        return t("All of %(whole)s goes back.", whole=whole)
    back, kept = words.money(shares.refund_minor, view.currency), words.money(shares.kept_minor, view.currency)
    return t(
        "It is less than %(late_window_minutes)s hours before the start: %(kept)s is kept, %(back)s goes back.",
        late_window_minutes=view.late_window_minutes // 60,
        kept=kept,
        back=back,
    )


def joining_of(explanation: Explanation) -> Joining:
    return Joining(
        explanation.can_join,
        tuple((reason.code, reason.text) for reason in explanation.reasons),
        explanation.opens_at,
    )


def readiness_of(given: Iterable[Given], person_id: str) -> Readiness:
    answers = tuple(given)
    care = answer_of(answers, person_id, Purpose.CARE)
    recording = answer_of(answers, person_id, Purpose.RECORDING)
    agreed = care if care is not None and care.answer is Answer.YES else None
    said = None if recording is None else "yes" if recording.answer is Answer.YES else "no"
    return Readiness(
        care_agreed_at=None if agreed is None else agreed.answered_at,
        care_version=None if agreed is None else agreed.text_version,
        recording_answer=said,
    )


@dataclass(frozen=True)
class Text:
    """A consent text set for reading: paragraphs, a "# " at the front makes one a heading."""

    id: str
    version: int
    title: str
    parts: tuple[str, ...]
    video_url: str


def text_of(text: consents.Text) -> Text:
    parts = tuple(part.strip() for part in text.body.split("\n\n") if part.strip())
    return Text(text.id, text.version, text.title, parts, text.video_url or "")
