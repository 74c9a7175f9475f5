"""The waiting room's doorkeeper: tokens used once by whom they were made for, places, the presence log."""

from datetime import timedelta

import pytest
import pytest_asyncio
from sqlalchemy import func, select

from control import appointments
from control.appointment_queries import SessionView
from control.appointment_states import State
from control.consents import Answer, Purpose
from control.errors import Conflict, Forbidden, NotFound
from control.models.appointments import Appointment, Presence
from control.models.outbox import OutboxRow
from control.scheduler import close_open_stays
from control.session_events import PresenceChanged
from control.waiting_room import WaitingRoom, explain, waiting_for
from signaling.permissions import Admission, Place, Refused, Role
from signaling.tokens import new_join_claims, sign_join
from tests.helpers.practice import World

SECRET = b"a secret of thirty-two characters"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def room(world: World) -> WaitingRoom:
    return WaitingRoom(world.db, SECRET, world.clock, base_url="https://practice.example")


@pytest_asyncio.fixture
async def view(world: World) -> SessionView:
    """A confirmed session to which Bob has given his care consent, but no answer about recording."""
    confirmed = await world.confirmed()
    await world.consent(world.bob, confirmed.id, Purpose.CARE)
    return confirmed


async def join(room: WaitingRoom, world: World, view: SessionView, *, practitioner: bool = False) -> Admission:
    who = world.alice if practitioner else world.bob
    return await room.redeem((await room.generate_call_link(who, view.id)).access_token)


async def stays(world: World) -> list[Presence]:
    async with world.db.reading() as session:
        return list(await session.scalars(select(Presence).order_by(Presence.connected_at)))


# -- links and tokens --------------------------------------------------------------------------------------------


async def test_links_lead_both_into_the_same_room_by_their_own_door(
    room: WaitingRoom, world: World, view: SessionView
) -> None:
    mine = await room.generate_call_link(world.alice, view.id)
    yours = await room.generate_call_link(world.bob, view.id)
    assert mine.room_name == yours.room_name == f"session_{view.id}"
    assert (mine.participant_role, yours.participant_role) == ("practitioner", "client")
    assert mine.media_url == "wss://practice.example/signaling"
    assert mine.call_url == f"https://practice.example/sessions/{view.id}/room"
    assert yours.call_url == f"https://practice.example/sessions/{view.id}/waiting-room"
    assert len({mine.access_token, yours.access_token}) == 2


async def test_token_opens_one_socket(room: WaitingRoom, world: World, view: SessionView) -> None:
    token = (await room.generate_call_link(world.bob, view.id)).access_token
    admission = await room.redeem(token)
    assert (admission.person_id, admission.role, admission.place) == (
        world.bob.person_id,
        Role.client,
        Place.waiting,
    )
    with pytest.raises(Refused) as refused:
        await room.redeem(token)
    assert refused.value.code == "token_used"


async def test_token_dies_after_five_minutes(room: WaitingRoom, world: World, view: SessionView) -> None:
    token = (await room.generate_call_link(world.bob, view.id)).access_token
    world.clock.forward(minutes=5)
    with pytest.raises(Refused) as refused:
        await room.redeem(token)
    assert refused.value.code == "token_expired"


async def test_token_signed_by_somebody_else_opens_nothing(room: WaitingRoom, world: World, view: SessionView) -> None:
    claims = new_join_claims(view.id, world.bob.person_id, Role.client, world.clock())
    with pytest.raises(Refused) as refused:
        await room.redeem(sign_join(b"another secret of thirty-two byte", claims))
    assert refused.value.code == "token_invalid"


async def test_token_we_never_gave_out_opens_nothing_even_with_our_signature(
    room: WaitingRoom, world: World, view: SessionView
) -> None:
    claims = new_join_claims(view.id, world.charlie.person_id, Role.practitioner, world.clock())
    with pytest.raises(Refused):
        await room.redeem(sign_join(SECRET, claims))


async def test_token_of_a_session_cancelled_meanwhile_opens_nothing(
    room: WaitingRoom, world: World, view: SessionView
) -> None:
    token = (await room.generate_call_link(world.bob, view.id)).access_token
    await appointments.cancel(world.db, world.alice, view.id, now=world.clock())
    with pytest.raises(Refused) as refused:
        await room.redeem(token)
    assert refused.value.code == "ended"


async def test_link_without_consent_is_refused_with_the_page_to_show(room: WaitingRoom, world: World) -> None:
    confirmed = await world.confirmed()
    with pytest.raises(Conflict) as refused:
        await room.generate_call_link(world.bob, confirmed.id)
    assert refused.value.code == "consent_required"
    assert refused.value.extra["page"] == f"/sessions/{confirmed.id}/consent"
    assert (await room.generate_call_link(world.alice, confirmed.id)).access_token


async def test_link_before_it_opens_is_refused_with_the_reasons(room: WaitingRoom, world: World) -> None:
    scheduled = await world.scheduled()
    for who in (world.alice, world.bob):
        with pytest.raises(Conflict) as refused:
            await room.generate_call_link(who, scheduled.id)
        assert refused.value.code == "not_joinable"
        assert refused.value.extra["reasons"][0]["code"] == "too_early"


async def test_request_for_a_link_confirms_by_itself_when_no_scheduler_ran(room: WaitingRoom, world: World) -> None:
    scheduled = await world.scheduled()
    await world.consent(world.bob, scheduled.id, Purpose.CARE)
    world.clock.now = scheduled.starts_at - 5 * MINUTE
    assert (await room.generate_call_link(world.bob, scheduled.id)).access_token
    assert (await appointments.get_for(world.db, world.bob, scheduled.id)).state is State.CONFIRMED


async def test_neither_stranger_nor_admin_gets_a_link(room: WaitingRoom, world: World, view: SessionView) -> None:
    for stranger in (world.charlie, world.erin):
        with pytest.raises(NotFound):
            await room.generate_call_link(stranger, view.id)
    with pytest.raises(Forbidden):
        await room.generate_call_link(world.dana, view.id)


# -- places ------------------------------------------------------------------------------------------------------


async def test_client_waits_until_start_and_until_answering_about_recording(
    room: WaitingRoom, world: World, view: SessionView
) -> None:
    bob = world.bob.person_id
    assert await room.place(view.id, world.alice.person_id) is Place.admitted
    assert await room.place(view.id, bob) is Place.waiting
    await appointments.start(world.db, world.alice, view.id, now=world.clock())
    assert await room.place(view.id, bob) is Place.waiting
    await world.consent(world.bob, view.id, Purpose.RECORDING, Answer.NO)
    assert await room.place(view.id, bob) is Place.admitted


async def test_stranger_has_no_place(room: WaitingRoom, world: World, view: SessionView) -> None:
    for stranger in (world.charlie, world.dana, world.erin):
        with pytest.raises(Refused) as refused:
            await room.place(view.id, stranger.person_id)
        assert refused.value.code == "not_in_session"
        with pytest.raises(Refused):
            await room.snapshot(view.id, stranger.person_id)


async def test_nobody_has_a_place_after_the_end(room: WaitingRoom, world: World, view: SessionView) -> None:
    await appointments.cancel(world.db, world.alice, view.id, now=world.clock())
    for who in (world.alice, world.bob):
        with pytest.raises(Refused) as refused:
            await room.place(view.id, who.person_id)
        assert refused.value.code == "ended"


async def test_being_let_in_is_noted_once_and_keeps_the_session_from_being_missed(
    room: WaitingRoom, world: World, view: SessionView
) -> None:
    await world.consent(world.bob, view.id, Purpose.RECORDING)
    world.clock.now = view.starts_at
    await appointments.start(world.db, world.alice, view.id, now=world.clock())
    let_in = world.clock.forward(minutes=14)
    await room.place(view.id, world.bob.person_id)
    world.clock.forward(minutes=5)
    await room.place(view.id, world.bob.person_id)
    assert await appointments.catch_up(world.db, view.id, now=world.clock()) is State.IN_PROGRESS
    async with world.db.reading() as session:
        row = await session.get_one(Appointment, view.id)
    assert (row.client_admitted_at, row.due_at) == (let_in, view.ends_at + 10 * MINUTE)


# -- presence ----------------------------------------------------------------------------------------------------


async def test_waiting_client_is_announced_once(room: WaitingRoom, world: World, view: SessionView) -> None:
    seen: list[object] = []
    world.db.subscribe(lambda events: seen.extend(event for event in events if isinstance(event, PresenceChanged)))
    admission = await join(room, world, view)
    await room.connected(admission)
    assert [one.client_name for one in await waiting_for(world.db, world.alice.person_id)] == ["Bob Client"]
    await room.disconnected(admission, "dropped")
    assert await waiting_for(world.db, world.alice.person_id) == ()
    await room.connected(admission)
    async with world.db.reading() as session:
        told = await session.scalar(
            select(func.count()).select_from(OutboxRow).where(OutboxRow.kind == "client_waiting")
        )
    assert told == 1
    assert [event.connected for event in seen if isinstance(event, PresenceChanged)] == [True, False, True]


async def test_second_device_keeps_its_stay_when_the_first_one_leaves(
    room: WaitingRoom, world: World, view: SessionView
) -> None:
    admission = await join(room, world, view)
    await room.connected(admission)
    later = world.clock.forward(seconds=10)
    await room.connected(admission)
    await room.disconnected(admission, "replaced")
    assert [(one.connected_at == later, one.disconnected_at is None) for one in await stays(world)] == [
        (False, False),
        (True, True),
    ]


async def test_leaving_twice_closes_one_stay(room: WaitingRoom, world: World, view: SessionView) -> None:
    admission = await join(room, world, view)
    await room.connected(admission)
    left = world.clock.forward(seconds=30)
    await room.disconnected(admission, "left")
    world.clock.forward(seconds=30)
    await room.disconnected(admission, "left")
    assert [one.disconnected_at for one in await stays(world)] == [left]


async def test_crash_closes_open_stays_at_the_last_sign_of_life(
    room: WaitingRoom, world: World, view: SessionView
) -> None:
    await room.connected(await join(room, world, view))
    world.clock.forward(minutes=3)
    await close_open_stays(world.db, now=world.clock())
    (stay,) = await stays(world)
    assert (stay.disconnected_at, stay.reason) == (world.clock(), "server_restart")


async def test_only_the_client_who_was_alone_there_is_refunded(
    room: WaitingRoom, world: World, view: SessionView
) -> None:
    admission = await join(room, world, view, practitioner=True)
    await room.connected(admission)
    world.clock.now = view.starts_at + 15 * MINUTE
    assert await appointments.catch_up(world.db, view.id, now=world.clock()) is State.NO_SHOW_CLIENT


# -- what is said ------------------------------------------------------------------------------------------------


async def test_snapshot_tells_each_person_what_they_can_do(room: WaitingRoom, world: World, view: SessionView) -> None:
    mine = await room.snapshot(view.id, world.alice.person_id)
    yours = await room.snapshot(view.id, world.bob.person_id)
    nothing = dict.fromkeys(("start", "end", "record", "share_screen", "moderate"), False)
    assert mine["can"] == {**nothing, "start": True, "share_screen": True, "moderate": True}
    assert yours["can"] == nothing
    assert (mine["no_show_from"], yours["no_show_from"]) == ("2026-03-02T14:15:00.000Z", None)
    assert yours["recording"] == {"offered": True, "state": "off", "reason": None, "cause": None, "my_answer": None}
    assert (mine["state"], mine["starts_at"]) == ("confirmed", "2026-03-02T14:00:00.000Z")
    await world.consent(world.bob, view.id, Purpose.RECORDING)
    await appointments.start(world.db, world.alice, view.id, now=world.clock())
    mine = await room.snapshot(view.id, world.alice.person_id)
    assert mine["can"] == {**nothing, "end": True, "record": True, "share_screen": True, "moderate": True}
    assert (await room.snapshot(view.id, world.bob.person_id))["recording"]["my_answer"] == "yes"


async def test_explanation_names_every_reason_in_plain_words(world: World) -> None:
    held = await world.book()
    told = await explain(world.db, world.bob, held.id, world.clock())
    assert [reason.code for reason in told.reasons] == ["not_paid"]
    world.clock.forward(minutes=10)
    told = await explain(world.db, world.bob, held.id, world.clock())
    assert [reason.code for reason in told.reasons] == ["expired"]
    paid = await world.scheduled()
    told = await explain(world.db, world.bob, paid.id, world.clock())
    assert [reason.code for reason in told.reasons] == ["too_early", "consent_required"]
    assert told.opens_at == paid.starts_at - 5 * MINUTE
    assert [reason.code for reason in (await explain(world.db, world.dana, paid.id, world.clock())).reasons] == [
        "too_early",
        "consent_required",
    ]
    with pytest.raises(NotFound):
        await explain(world.db, world.charlie, paid.id, world.clock())
