"""The waiting room's doorkeeper: call links, join tokens, who waits and who is in, the presence log.

Implements signaling.permissions.Gatekeeper: signaling asks, control decides, on fresh rows each time. A token is
signed, lives five minutes, opens one socket and names appointment, person and role; its number is stored so that it
is used once. What the log says decides no-shows, so it is written here and nowhere else.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, and_, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.accounts import Actor
from control.appointment_moves import facts_of, guest_of, load, party_in, session_facts
from control.appointment_states import ENDED, State
from control.appointments import catch_up
from control.consents import Purpose, standing_in
from control.database import Database, publish
from control.errors import Conflict, Forbidden, NotFound
from control.joining import Explanation, Seat, explain_seat, may_publish, may_share, place_of
from control.lifecycle import Party, due_since, no_show_from
from control.models.appointments import Appointment, Guest, JoinToken, Presence
from control.models.consents import ConsentText
from control.models.people import Person
from control.notices.outbox import Notice, NoticeKind, enqueue
from control.recording_rule import OFF, Shown
from control.session_events import PresenceChanged
from media.types import ParticipantId, RoomId, TrackSource
from signaling.permissions import Admission, Place, Refused, Role, Snapshot
from signaling.tokens import new_join_claims, sign_join, verify_join

RecordingState = Callable[[str], Awaitable[Shown]]
"""Appointment id → what its room is shown of the recording. The recordings' module provides it."""


async def no_recording(appointment_id: str) -> Shown:
    del appointment_id
    return OFF


def room_of(appointment_id: str) -> RoomId:
    return RoomId(f"session_{appointment_id}")


_ROLES = {Party.PRACTITIONER: Role.practitioner, Party.CLIENT: Role.client, Party.GUEST: Role.guest}


@dataclass(frozen=True, slots=True)
class CallLink:
    """What a native app needs to come in (PRODUCT.md §6); the token opens one socket within five minutes."""

    session_id: str
    room_name: str
    media_url: str
    call_url: str
    access_token: str
    participant_identity: str
    participant_role: str
    ice_servers: Sequence[Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in CallLink.__dataclass_fields__}
        return values | {"ice_servers": list(self.ice_servers)}


# -- why not yet -------------------------------------------------------------------------------------------------


async def explain(db: Database, actor: Actor, appointment_id: str, now: datetime) -> Explanation:
    """Why this person can, or can't yet, join; an admin sees the client's reasons. Raises NotFound for a stranger."""
    await _stranger_is_refused(db, actor, appointment_id)
    await catch_up(db, appointment_id, now=now)
    async with db.reading() as session:
        row = await load(session, appointment_id)
        party = await party_in(session, actor, row)
        person_id = row.client_id if party is Party.ADMIN else actor.person_id
        seat = await _seat(session, row, person_id)
    return explain_seat(seat)


async def is_let_in(db: Database, appointment_id: str, person_id: str) -> bool:
    """Whether somebody who may come in would find themself in the room, or would wait. Notes nothing."""
    async with db.reading() as session:
        return place_of(await _seat(session, await load(session, appointment_id), person_id)) is Place.admitted


async def _stranger_is_refused(db: Database, actor: Actor, appointment_id: str) -> None:
    async with db.reading() as session:
        await party_in(session, actor, await load(session, appointment_id))


async def _seat(session: AsyncSession, row: Appointment, person_id: str) -> Seat:
    has_care_text = await session.scalar(
        select(exists().where(ConsentText.purpose == Purpose.CARE, ConsentText.owner == row.practitioner_id))
    )
    guest = None
    party = Party.PRACTITIONER if person_id == row.practitioner_id else Party.CLIENT
    if person_id not in (row.practitioner_id, row.client_id):
        guest, party = await guest_of(session, row.id, person_id), Party.GUEST
    return Seat(
        appointment_id=row.id,
        person_id=person_id,
        party=party,
        facts=facts_of(row),
        mode=row.mode,
        recording_offered=row.recording_offered,
        has_care_text=bool(has_care_text),
        given=await standing_in(session, row),
        guest_admitted=guest is not None and guest.admitted_at is not None,
        sent_out=party is Party.CLIENT and row.client_sent_out_at is not None,
        visitors_may_share=row.visitors_may_share,
    )


class WaitingRoom:
    """The Gatekeeper. One per application; holds no state of its own."""

    def __init__(
        self,
        db: Database,
        secret: bytes,
        clock: Callable[[], datetime],
        *,
        base_url: str,
        recording_state: RecordingState = no_recording,
    ) -> None:
        self._db = db
        self._secret = secret
        self._clock = clock
        self._base_url = base_url
        self._recording_state = recording_state

    # -- call link -----------------------------------------------------------------------------------------------

    async def generate_call_link(
        self, actor: Actor, appointment_id: str, *, login: str = "", ice_servers: Sequence[Mapping[str, Any]] = ()
    ) -> CallLink:
        """A fresh token for this person. Raises Conflict("consent_required" | "not_joinable") with the reasons."""
        now = self._clock()
        explanation = await explain(self._db, actor, appointment_id, now)
        async with self._db.transaction() as session:
            row = await load(session, appointment_id)
            party = await party_in(session, actor, row)
            if party is Party.ADMIN:
                raise Forbidden("not_in_session", "Only who takes part in this session can join it.")
            if not explanation.can_join:
                raise _not_joinable(explanation)
            role = _ROLES[party]
            claims = new_join_claims(row.id, actor.person_id, role, now, login=login)
            session.add(
                JoinToken(
                    jti=claims.jti,
                    appointment_id=row.id,
                    person_id=actor.person_id,
                    role=role,
                    created_at=now,
                    expires_at=datetime.fromtimestamp(claims.expires_at, tz=now.tzinfo),
                )
            )
        page = "room" if party is Party.PRACTITIONER else "waiting-room"
        return CallLink(
            session_id=appointment_id,
            room_name=room_of(appointment_id),
            media_url=f"ws{self._base_url.removeprefix('http')}/signaling",
            call_url=f"{self._base_url}/sessions/{appointment_id}/{page}",
            access_token=sign_join(self._secret, claims),
            participant_identity=actor.person_id,
            participant_role=role,
            ice_servers=ice_servers,
        )

    # -- the Gatekeeper ------------------------------------------------------------------------------------------

    async def redeem(self, token: str) -> Admission:
        """Consume a token. Refused: token_invalid, token_expired, token_used, not_joinable, consent_required."""
        now = self._clock()
        claims = verify_join(self._secret, token, now)
        async with self._db.transaction() as session:
            used = await session.execute(
                update(JoinToken)
                .where(
                    JoinToken.jti == claims.jti,
                    JoinToken.appointment_id == claims.appointment_id,
                    JoinToken.person_id == claims.person_id,
                    JoinToken.role == claims.role,
                    JoinToken.used_at.is_(None),
                )
                .values(used_at=now)
            )
            if cast(CursorResult[Any], used).rowcount != 1:
                raise Refused("token_used", "This link has been used. Open the session again.")
        async with self._db.reading() as session:
            seat = await self._seat_of(session, claims.appointment_id, claims.person_id)
            name = await session.scalar(select(Person.name).where(Person.id == claims.person_id))
        return Admission(
            appointment_id=claims.appointment_id,
            room=room_of(claims.appointment_id),
            person_id=claims.person_id,
            participant=ParticipantId(claims.person_id),
            role=_ROLES[seat.party],
            display_name=name or "",
            place=place_of(seat),
            may_publish=may_publish(seat),
            login=claims.login,
        )

    async def place(self, appointment_id: str, person_id: str) -> Place:
        """Where the person stands now; that they were let in is noted, once, for the end's decision."""
        async with self._db.reading() as session:
            seat = await self._seat_of(session, appointment_id, person_id)
        place = place_of(seat)
        noted = seat.facts.client_admitted if seat.party is Party.CLIENT else seat.facts.practitioner_admitted
        if place is Place.admitted and not noted and seat.party is not Party.GUEST:
            await self._note_admitted(seat)
        return place

    async def may_publish(self, appointment_id: str, person_id: str) -> frozenset[TrackSource]:
        async with self._db.reading() as session:
            return may_publish(await self._seat_of(session, appointment_id, person_id))

    async def connected(self, admission: Admission) -> None:
        """Open a stay. A client who waits is announced to the practitioner, once per appointment."""
        now = self._clock()
        async with self._db.transaction() as session:
            row = await load(session, admission.appointment_id)
            session.add(
                Presence(
                    appointment_id=row.id,
                    person_id=admission.person_id,
                    role=admission.role,
                    connected_at=now,
                    admitted_at=now if admission.place is Place.admitted else None,
                )
            )
            if admission.role is Role.client and admission.place is Place.waiting:
                await _announce(session, row, now)
            if row.empty_since is not None:
                await _set_empty_since(session, row, None)
            publish(session, PresenceChanged(row.id, row.practitioner_id, admission.person_id, connected=True))

    async def disconnected(self, admission: Admission, reason: str) -> None:
        """Close the person's oldest open stay: a second device may have opened the next one already."""
        now = self._clock()
        async with self._db.transaction() as session:
            row = await load(session, admission.appointment_id)
            stay = await session.scalar(
                select(Presence)
                .where(
                    Presence.appointment_id == row.id,
                    Presence.person_id == admission.person_id,
                    Presence.disconnected_at.is_(None),
                )
                .order_by(Presence.connected_at)
                .limit(1)
            )
            if stay is None:
                return
            stay.disconnected_at = now
            stay.reason = reason[:24]
            await session.flush()
            if row.state == State.IN_PROGRESS and not await _anybody_there(session, row.id):
                await _set_empty_since(session, row, now)
            publish(session, PresenceChanged(row.id, row.practitioner_id, admission.person_id, connected=False))

    async def snapshot(self, appointment_id: str, person_id: str) -> Snapshot:
        """The session as this person may see it; signaling/PROTOCOL.md, "Snapshot"."""
        async with self._db.reading() as session:
            row = await load(session, appointment_id)
            others = await _guests_in(session, row.id)
            if person_id not in (row.practitioner_id, row.client_id, *others):
                raise Refused("not_in_session", "You have no place in this session.")
            seat = await _seat(session, row, person_id)
            about = await session_facts(session, row)
        shown = await self._recording_state(appointment_id)
        leads = seat.party is Party.PRACTITIONER
        missed_from = no_show_from(seat.facts) if leads else None
        people = [
            {"id": row.practitioner_id, "name": about.practitioner_name, "role": Role.practitioner},
            {"id": row.client_id, "name": about.client_name, "role": Role.client},
            *({"id": one, "name": name, "role": Role.guest} for one, name in others.items()),
        ]
        return {
            "state": row.state,
            "mode": row.mode,
            "server_now": _iso(self._clock()),
            "starts_at": _iso(row.starts_at),
            "ends_at": _iso(row.ends_at),
            "started_at": None if row.started_at is None else _iso(row.started_at),
            "practitioner": {"id": row.practitioner_id, "name": about.practitioner_name},
            "people": people,
            "visitors_may_share": row.visitors_may_share,
            "no_show_from": None if missed_from is None else _iso(missed_from),
            "recording": {
                "offered": row.recording_offered,
                "state": shown.state,
                "reason": shown.reason,
                "cause": shown.cause,
                "my_answer": seat.recording_answer,
            },
            "can": {
                "start": leads and row.state == State.CONFIRMED,
                "end": leads and row.state == State.IN_PROGRESS,
                "record": leads and row.recording_offered and row.state == State.IN_PROGRESS,
                "share_screen": may_share(seat),
                "moderate": leads and row.state in (State.CONFIRMED, State.IN_PROGRESS),
            },
        }

    # -- inside --------------------------------------------------------------------------------------------------

    async def _seat_of(self, session: AsyncSession, appointment_id: str, person_id: str) -> Seat:
        """The seat of somebody who may be here at all. Raises Refused."""
        try:
            row = await load(session, appointment_id)
        except NotFound:
            raise Refused("not_joinable", "This session does not exist.") from None
        known = person_id in (row.practitioner_id, row.client_id)
        if not known and await guest_of(session, row.id, person_id) is None:
            raise Refused("not_in_session", "You have no place in this session.")
        seat = await _seat(session, row, person_id)
        explanation = explain_seat(seat)
        if explanation.can_join:
            return seat
        first = explanation.reasons[0]
        code = "ended" if seat.facts.state in ENDED else first.code
        raise Refused("consent_required" if explanation.consent_page else code, first.text)

    async def _note_admitted(self, seat: Seat) -> None:
        """The client's admission moves `due_at`, and the version, so that a no-show decided meanwhile loses."""
        now = self._clock()
        async with self._db.transaction() as session:
            row = await load(session, seat.appointment_id)
            if row.state not in (State.CONFIRMED, State.IN_PROGRESS):
                return
            stamp = "client_admitted_at" if seat.party is Party.CLIENT else "practitioner_admitted_at"
            column = getattr(Appointment, stamp)
            changed = await session.execute(
                update(Appointment)
                .where(Appointment.id == row.id, Appointment.version == row.version, column.is_(None))
                .values({stamp: now, "version": row.version + 1})
                .execution_options(synchronize_session=False)
            )
            if cast(CursorResult[Any], changed).rowcount == 1:
                await session.refresh(row)
                await session.execute(
                    update(Appointment)
                    .where(Appointment.id == row.id)
                    .values(due_at=due_since(facts_of(row)))
                    .execution_options(synchronize_session=False)
                )
            await session.execute(
                update(Presence)
                .where(
                    Presence.appointment_id == row.id,
                    Presence.person_id == seat.person_id,
                    Presence.disconnected_at.is_(None),
                    Presence.admitted_at.is_(None),
                )
                .values(admitted_at=now)
                .execution_options(synchronize_session=False)
            )


async def _guests_in(session: AsyncSession, appointment_id: str) -> dict[str, str]:
    found = await session.execute(
        select(Person.id, Person.name)
        .join(Guest, Guest.person_id == Person.id)
        .where(Guest.appointment_id == appointment_id, Guest.removed_at.is_(None))
        .order_by(Guest.created_at)
    )
    return {row.id: row.name for row in found}


async def _anybody_there(session: AsyncSession, appointment_id: str) -> bool:
    there = select(exists().where(Presence.appointment_id == appointment_id, Presence.disconnected_at.is_(None)))
    return bool(await session.scalar(there))


async def _set_empty_since(session: AsyncSession, row: Appointment, moment: datetime | None) -> None:
    """From when nobody is there: it may end the session before its grace does."""
    await session.execute(
        update(Appointment)
        .where(Appointment.id == row.id, Appointment.state == State.IN_PROGRESS)
        .values(empty_since=moment, due_at=due_since(replace(facts_of(row), empty_since=moment)))
        .execution_options(synchronize_session=False)
    )


async def _announce(session: AsyncSession, row: Appointment, now: datetime) -> None:
    if row.state not in (State.CONFIRMED, State.IN_PROGRESS):
        return
    first = await session.execute(
        update(Appointment)
        .where(Appointment.id == row.id, Appointment.client_waiting_told_at.is_(None))
        .values(client_waiting_told_at=now)
        .execution_options(synchronize_session=False)
    )
    if cast(CursorResult[Any], first).rowcount == 1:
        about = await session_facts(session, row)
        await enqueue(session, Notice(NoticeKind.CLIENT_WAITING, row.practitioner_id, about), now=now)


def _not_joinable(explanation: Explanation) -> Conflict:
    reasons = [{"code": reason.code, "text": reason.text} for reason in explanation.reasons]
    only_consent = [reason.code for reason in explanation.reasons] == ["consent_required"]
    extra: dict[str, Any] = {"reasons": reasons, "opens_at": _iso(explanation.opens_at)}
    if explanation.consent_page is not None:
        extra["page"] = explanation.consent_page
    code = "consent_required" if only_consent else "not_joinable"
    return Conflict(code, " ".join(reason.text for reason in explanation.reasons), **extra)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Waiting:
    """`client_id` is who waits: the client, or a guest, who then has a `guest_id` to be admitted by."""

    appointment_id: str
    client_id: str
    client_name: str
    since: datetime
    guest_id: str = ""

    @property
    def role(self) -> str:
        return "guest" if self.guest_id else "client"


async def waiting_for(db: Database, practitioner_id: str) -> tuple[Waiting, ...]:
    """Who is waiting for a practitioner, and since when: the first lines of their dashboard."""
    async with db.reading() as session:
        found = await session.execute(
            select(
                Appointment.id,
                Person.id.label("person_id"),
                Person.name,
                Presence.connected_at,
                Guest.id.label("guest_id"),
            )
            .join(Presence, Presence.appointment_id == Appointment.id)
            .join(Person, Person.id == Presence.person_id)
            .outerjoin(Guest, and_(Guest.appointment_id == Appointment.id, Guest.person_id == Person.id))
            .where(
                Appointment.practitioner_id == practitioner_id,
                Appointment.state.in_((State.CONFIRMED, State.IN_PROGRESS)),
                Presence.person_id != practitioner_id,
                Presence.disconnected_at.is_(None),
                Presence.admitted_at.is_(None),
                Guest.admitted_at.is_(None),
                Guest.removed_at.is_(None),
            )
            .order_by(Presence.connected_at)
        )
        return tuple(Waiting(row.id, row.person_id, row.name, row.connected_at, row.guest_id or "") for row in found)
