"""The practitioner lets in, sends out, mutes and allows sharing; nobody else does, however they ask."""

import pytest

from control import accounts, appointments, guests, room_control
from control.consents import Purpose
from control.errors import Conflict, NotFound
from control.waiting_room import WaitingRoom
from media.types import TrackSource
from signaling.permissions import Place
from tests.helpers.practice import Site, World

SCREEN = {TrackSource.screen, TrackSource.screen_audio}


def room_of(world: World) -> WaitingRoom:
    return WaitingRoom(world.db, b"s" * 32, world.clock, base_url="http://localhost")


async def with_consents(world: World) -> str:
    view = await world.started()
    for purpose in Purpose:
        await world.consent(world.bob, view.id, purpose)
    return view.id


async def test_client_who_was_sent_out_waits_until_let_in_again(world: World) -> None:
    appointment = await with_consents(world)
    room, bob = room_of(world), world.bob.person_id
    assert await room.place(appointment, bob) is Place.admitted
    for _ in range(2):
        await room_control.send_out(world.db, world.alice, appointment, bob, now=world.clock())
        assert await room.place(appointment, bob) is Place.waiting
    for _ in range(2):
        await room_control.let_in(world.db, world.alice, appointment, bob, now=world.clock())
        assert await room.place(appointment, bob) is Place.admitted


async def test_guest_who_was_sent_out_keeps_the_invitation_and_waits(world: World) -> None:
    view = await world.started()
    guest = await guests.invite(world.db, world.alice, view.id, email="g@example.org", name="Gwen", now=world.clock())
    gwen = await accounts.actor_of(world.db, guest.person_id)
    assert gwen is not None
    for purpose in Purpose:
        await world.consent(gwen, view.id, purpose)
    room = room_of(world)
    await room_control.let_in(world.db, world.alice, view.id, gwen.person_id, now=world.clock())
    assert await room.place(view.id, gwen.person_id) is Place.admitted
    await room_control.send_out(world.db, world.alice, view.id, gwen.person_id, now=world.clock())
    assert await room.place(view.id, gwen.person_id) is Place.waiting


async def test_visitors_share_their_screen_only_while_the_practitioner_allows_it(world: World) -> None:
    appointment = await with_consents(world)
    room, bob, alice = room_of(world), world.bob.person_id, world.alice.person_id
    assert not SCREEN & await room.may_publish(appointment, bob)
    assert await room.may_publish(appointment, alice) >= SCREEN
    assert (await room.snapshot(appointment, bob))["can"]["share_screen"] is False
    await room_control.allow_sharing(world.db, world.alice, appointment, allowed=True, now=world.clock())
    assert await room.may_publish(appointment, bob) >= SCREEN
    snapshot = await room.snapshot(appointment, bob)
    assert (snapshot["can"]["share_screen"], snapshot["can"]["moderate"]) == (True, False)
    await room_control.allow_sharing(world.db, world.alice, appointment, allowed=False, now=world.clock())
    assert not SCREEN & await room.may_publish(appointment, bob)


async def test_nobody_without_a_place_is_let_in_and_nobody_into_a_closed_room(world: World) -> None:
    view = await world.scheduled()
    with pytest.raises(Conflict, match="not_open"):
        await room_control.send_out(world.db, world.alice, view.id, world.bob.person_id, now=world.clock())
    world.clock.now = view.starts_at
    await appointments.start(world.db, world.alice, view.id, now=world.clock())
    for nobody in (world.charlie.person_id, world.alice.person_id, "0" * 32):
        with pytest.raises(NotFound):
            await room_control.let_in(world.db, world.alice, view.id, nobody, now=world.clock())


async def test_only_the_practitioner_leads(site: Site) -> None:
    world = site.world
    appointment = await with_consents(world)
    room = f"/api/appointments/{appointment}/room"
    bob = f"{room}/people/{world.bob.person_id}"
    for who, status in ((world.charlie, 404), (world.erin, 404), (world.bob, 403), (world.dana, 403), (None, 401)):
        hand = await site.hand_of(who)
        for path, body in (
            (f"{bob}/admit", {}),
            (f"{bob}/remove", {}),
            (f"{bob}/mute", {}),
            (f"{room}/sharing", {"allowed": True}),
        ):
            assert (await hand.post(path, body))[0] == status
    alice = await site.hand_of(world.alice)
    assert (await alice.post(f"{bob}/remove"))[1]["place"] == "waiting"
    assert (await alice.post(f"{bob}/admit"))[1]["place"] == "admitted"
    assert (await alice.post(f"{bob}/mute"))[1]["code"] == "nothing_to_mute"
    assert (await alice.post(f"{room}/sharing", {"allowed": "maybe"}))[0] == 422
