"""May this person come in now, and if not, why: the one answer for pages, call links, sockets and the command line.

Pure over what was read: an appointment's facts and the standing consents. waiting_room.py reads and writes.
"""

from dataclasses import dataclass
from datetime import datetime

from control.appointment_states import State
from control.consents import Answer, Given, Purpose, answer_of
from control.language import N_, look_up, t
from control.lifecycle import Facts, Party, opens_at
from media.types import TrackSource
from signaling.permissions import Place


@dataclass(frozen=True, slots=True)
class Reason:
    """Why somebody can't come in yet: a stable code and plain words."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    can_join: bool
    reasons: tuple[Reason, ...]
    opens_at: datetime
    consent_page: str | None = None
    """Where the missing consent is asked for."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One person's standing towards one appointment."""

    appointment_id: str
    person_id: str
    party: Party
    facts: Facts
    mode: str
    recording_offered: bool
    has_care_text: bool
    given: tuple[Given, ...]
    guest_admitted: bool = False
    sent_out: bool = False
    """The client was asked out of the room and waits for Admit."""
    visitors_may_share: bool = False

    @property
    def is_visitor(self) -> bool:
        """Clients and guests: who waits outside and is asked for their consents."""
        return self.party in (Party.CLIENT, Party.GUEST)

    @property
    def needs_care(self) -> bool:
        """Visitors agree to the practitioner's text first; where none was ever written there is nothing to agree to."""
        if not self.is_visitor or not self.has_care_text:
            return False
        care = answer_of(self.given, self.person_id, Purpose.CARE)
        return care is None or care.answer is not Answer.YES

    @property
    def needs_recording_answer(self) -> bool:
        """Yes or no, but an answer: asked of visitors before they are let in, never standing in Start's way."""
        if not self.is_visitor or not self.recording_offered:
            return False
        return answer_of(self.given, self.person_id, Purpose.RECORDING) is None

    @property
    def recording_answer(self) -> str | None:
        """ "yes" or "no" as the page shows it; a withdrawal reads as no."""
        given = answer_of(self.given, self.person_id, Purpose.RECORDING)
        if given is None:
            return None
        return "yes" if given.answer is Answer.YES else "no"


_ENDED: dict[State, Reason] = {
    State.COMPLETED: Reason("ended", N_("This session has ended.")),
    State.EXPIRED: Reason("expired", N_("The booking was not paid in time, so this session does not take place.")),
    State.CANCELLED: Reason("cancelled", N_("This session has been cancelled.")),
    State.NO_SHOW_CLIENT: Reason("missed", N_("This session is over: you did not come in time.")),
    State.NO_SHOW_PRACTITIONER: Reason("missed", N_("Sorry, your session has been cancelled.")),
}


def explain_seat(seat: Seat) -> Explanation:
    """Every reason at once, the weightiest first; none of them if the person may come in."""
    opens = opens_at(seat.facts)
    state = seat.facts.state
    reasons: list[Reason] = []
    page: str | None = None
    if state in _ENDED:
        if state is State.NO_SHOW_CLIENT and seat.party is not Party.CLIENT:
            reasons.append(Reason("missed", t("This session is over: your client did not come.")))
        elif state is State.NO_SHOW_PRACTITIONER and not seat.is_visitor:
            reasons.append(Reason("missed", t("This session is over: it was not started in time.")))
        else:
            reasons.append(Reason(_ENDED[state].code, look_up(_ENDED[state].text)))
        return Explanation(False, tuple(reasons), opens)
    if state is State.PENDING:
        reasons.append(Reason("not_paid", t("This session is not paid yet.")))
    elif seat.facts.awaits_activation:
        reasons.append(Reason("not_activated", t("The practice has still to activate this session.")))
    elif state is State.SCHEDULED:
        minutes = round(seat.facts.bounds.opens_before.total_seconds() / 60)
        reasons.append(
            Reason("too_early", t("The waiting room opens %(minutes)s minutes before the start.", minutes=minutes))
        )
    if seat.needs_care and state is not State.PENDING:
        reasons.append(Reason("consent_required", t("Please read and agree to the informed consent first.")))
        page = f"/sessions/{seat.appointment_id}/consent"
    return Explanation(not reasons, tuple(reasons), opens, page)


def place_of(seat: Seat) -> Place:
    """The practitioner is in from `confirmed`; the client from Start, once they have answered about recording; a guest,
    and whoever was asked out, besides only once the practitioner has pressed Admit."""
    if seat.party is Party.PRACTITIONER:
        return Place.admitted
    if seat.sent_out or (seat.party is Party.GUEST and not seat.guest_admitted):
        return Place.waiting
    if seat.facts.state is State.IN_PROGRESS and not seat.needs_recording_answer:
        return Place.admitted
    return Place.waiting


_SCREEN = frozenset({TrackSource.screen, TrackSource.screen_audio})
_DEVICES = {
    "video": frozenset({TrackSource.microphone, TrackSource.camera}),
    "audio": frozenset({TrackSource.microphone}),
}


def may_share(seat: Seat) -> bool:
    """Their screen: the practitioner always, visitors while the practitioner allows it; a chat has no media at all."""
    return seat.mode in _DEVICES and (not seat.is_visitor or seat.visitors_may_share)


def may_publish(seat: Seat) -> frozenset[TrackSource]:
    """What the service's mode carries: a chat session is the same room without media."""
    return _DEVICES.get(seat.mode, frozenset()) | (_SCREEN if may_share(seat) else frozenset())
