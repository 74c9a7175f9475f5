"""Guests of a session: invited by the practitioner, they pay nothing, see no money and wait for Admit."""

import pytest
from sqlalchemy import select

from control import accounts, appointments, consents, guests, waiting_room
from control.accounts import Actor
from control.consents import Purpose
from control.errors import Conflict, Forbidden, Invalid, NotFound
from control.guests import GuestView
from control.lifecycle import Party
from control.models.outbox import OutboxRow
from control.waiting_room import WaitingRoom
from signaling.permissions import Place, Refused, Role
from tests.helpers.practice import Site, World


async def invited(world: World, appointment_id: str, email: str = "gwen@example.org") -> tuple[GuestView, Actor]:
    guest = await guests.invite(
        world.db, world.alice, appointment_id, email=email, name="Gwen Guest", now=world.clock()
    )
    actor = await accounts.actor_of(world.db, guest.person_id)
    assert actor is not None
    return guest, actor


def room_of(world: World) -> WaitingRoom:
    return WaitingRoom(world.db, b"s" * 32, world.clock, base_url="http://localhost")


async def test_guest_is_told_by_a_letter_whose_link_signs_them_in(world: World) -> None:
    view = await world.scheduled()
    _, gwen = await invited(world, view.id)
    async with world.db.reading() as session:
        row = (await session.scalars(select(OutboxRow).where(OutboxRow.kind == "guest_invited"))).one()
    assert row.secrets is not None
    token = row.secrets["path"].rsplit("/", 1)[-1]
    signed_in = await accounts.consume_link(world.db, token, now=world.clock())
    assert (row.person_id, signed_in.return_path) == (gwen.person_id, f"/sessions/{view.id}")


async def test_guest_sees_the_session_without_its_money_and_in_their_list(site: Site) -> None:
    world = site.world
    view = await world.scheduled()
    _, gwen = await invited(world, view.id)
    hand = await site.hand_of(gwen)
    status, seen = await hand.get(f"/api/appointments/{view.id}")
    assert (status, seen["my_role"]) == (200, "guest")
    assert not {"payment", "policy"} & seen.keys()
    coming = await appointments.upcoming_for(world.db, gwen, world.clock())
    assert [(one.id, one.party) for one in coming] == [(view.id, Party.GUEST)]


async def test_guest_waits_for_consent_start_and_admit(world: World) -> None:
    view = await world.started()
    guest, gwen = await invited(world, view.id)
    room = room_of(world)
    found = await waiting_room.explain(world.db, gwen, view.id, world.clock())
    assert [reason.code for reason in found.reasons] == ["consent_required"]
    for purpose in Purpose:
        await world.consent(gwen, view.id, purpose)
    link = await room.generate_call_link(gwen, view.id)
    assert (await room.redeem(link.access_token)).role is Role.guest
    assert await room.place(view.id, gwen.person_id) is Place.waiting
    await guests.admit(world.db, world.alice, view.id, guest.id, now=world.clock())
    await guests.admit(world.db, world.alice, view.id, guest.id, now=world.clock())
    assert await room.place(view.id, gwen.person_id) is Place.admitted
    snapshot = await room.snapshot(view.id, gwen.person_id)
    assert [one["role"] for one in snapshot["people"]] == ["practitioner", "client", "guest"]
    seen = await appointments.get_for(world.db, world.alice, view.id)
    assert seen.state == "in_progress"  # a guest let in is not the client let in
    with pytest.raises(Conflict, match="client_may_still_come"):
        await appointments.complete(world.db, world.alice, view.id, now=world.clock())


async def test_removed_guest_has_no_place_and_waits_again_when_invited_again(world: World) -> None:
    view = await world.started()
    guest, gwen = await invited(world, view.id)
    await guests.admit(world.db, world.alice, view.id, guest.id, now=world.clock())
    await guests.remove(world.db, world.alice, view.id, guest.id, now=world.clock())
    with pytest.raises(Refused):
        await room_of(world).place(view.id, gwen.person_id)
    with pytest.raises(NotFound):
        await appointments.get_for(world.db, gwen, view.id)
    again, _ = await invited(world, view.id)
    assert (again.id, again.admitted_at) == (guest.id, None)


async def test_same_address_twice_is_one_guest_and_one_letter(world: World) -> None:
    view = await world.scheduled()
    one, _ = await invited(world, view.id)
    other, _ = await invited(world, view.id, "GWEN@example.org")
    assert one.id == other.id
    async with world.db.reading() as session:
        assert len((await session.scalars(select(OutboxRow).where(OutboxRow.kind == "guest_invited"))).all()) == 1


async def test_no_more_people_than_a_session_holds(world: World) -> None:
    view = await world.scheduled()
    for number in range(2):
        await guests.invite(
            world.db,
            world.alice,
            view.id,
            email=f"{number}@example.org",
            name="G",
            most_people=4,
            now=world.clock(),
        )
    with pytest.raises(Conflict, match="too_many_people"):
        await guests.invite(
            world.db, world.alice, view.id, email="3@example.org", name="G", most_people=4, now=world.clock()
        )
    assert len(await guests.guests_of(world.db, world.alice, view.id)) == 2


async def test_nobody_is_invited_twice_over_as_client_or_to_an_ended_session(world: World) -> None:
    view = await world.scheduled()
    with pytest.raises(Invalid, match="already_in_session"):
        await invited(world, view.id, "bob.client@example.org")
    await appointments.cancel(world.db, world.alice, view.id, now=world.clock())
    with pytest.raises(Conflict, match="not_open"):
        await invited(world, view.id)


async def test_guest_neither_cancels_nor_starts_nor_pays_nor_moves(world: World) -> None:
    view = await world.scheduled()
    _, gwen = await invited(world, view.id)
    for act in (appointments.cancel, appointments.start, appointments.complete):
        with pytest.raises(NotFound):
            await act(world.db, gwen, view.id, now=world.clock())  # type: ignore[operator]


async def test_only_the_practitioner_invites_and_admits(world: World, site: Site) -> None:
    view = await world.scheduled()
    guest, gwen = await invited(world, view.id)
    path = f"/api/appointments/{view.id}/guests"
    for who, status in ((world.charlie, 404), (world.bob, 403), (gwen, 404)):
        hand = await site.hand_of(who)
        assert (await hand.post(path, {"email": "x@example.org", "name": "X"}))[0] == status
        assert (await hand.post(f"{path}/{guest.id}/admit"))[0] == status
        assert (await hand.delete(f"{path}/{guest.id}"))[0] == status
    assert (await (await site.hand_of(world.charlie)).get(path))[0] == 404
    alice = await site.hand_of(world.alice)
    assert [one["email"] for one in (await alice.get(path))[1]["guests"]] == ["gwen@example.org"]
    assert "email" not in (await (await site.hand_of(gwen)).get(path))[1]["guests"][0]
    assert (await alice.post(f"{path}/{guest.id}/admit"))[0] == 200
    assert (await alice.delete(f"{path}/{guest.id}"))[0] == 204


async def test_guests_consent_is_their_own(world: World) -> None:
    view = await world.scheduled()
    _, gwen = await invited(world, view.id)
    await world.consent(gwen, view.id, Purpose.CARE)
    given = await consents.standing(world.db, view.id)
    assert [(one.person_id, one.purpose) for one in given] == [(gwen.person_id, Purpose.CARE)]


async def test_client_may_not_ask_for_the_guests_of_others(world: World) -> None:
    view = await world.scheduled()
    with pytest.raises(Forbidden):
        await guests.invite(world.db, world.bob, view.id, email="a@example.org", name="A", now=world.clock())
