"""What another process did to a session reaches the people and the recording of this one."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from control import appointments
from control.consents import Answer, Purpose
from control.database import Database
from control.keys import HUB, SESSION_WATCH, WAITING_ROOM
from control.recording_queries import list_recordings
from control.recording_rule import Pressed, RecordingState
from control.session_watch import SessionWatch
from signaling.outbox import Outbox
from signaling.permissions import Place
from tests.control.recording_studio import Studio
from tests.helpers.practice import Site, World


@pytest_asyncio.fixture
async def elsewhere(database_url: str) -> AsyncIterator[Database]:
    """The database as another process has it open: its commits are not told here."""
    db = Database(database_url)
    await db.connect()
    yield db
    await db.close()


async def seated(site: Site) -> tuple[str, Outbox]:
    """A session that runs, as this process knows it, and the practitioner's socket in it."""
    world = site.world
    view = await world.started()
    link = await site.app[WAITING_ROOM].generate_call_link(world.alice, view.id)
    outbox = Outbox()
    await site.app[HUB].join(link.access_token, outbox)
    return view.id, outbox


def places(site: Site, appointment_id: str) -> list[Place]:
    return [one.place for one in site.app[HUB].present(appointment_id)]


async def test_session_ended_by_another_process_sends_everybody_out(site: Site, elsewhere: Database) -> None:
    appointment_id, outbox = await seated(site)
    await site.app[SESSION_WATCH].look()
    assert places(site, appointment_id) == [Place.admitted]
    now = site.world.clock.forward(minutes=20)
    await appointments.complete(elsewhere, site.world.alice, appointment_id, now=now)
    await site.app[SESSION_WATCH].look()
    assert places(site, appointment_id) == []
    assert outbox.closing is not None


async def test_session_started_by_another_process_lets_in_who_waits(site: Site, elsewhere: Database) -> None:
    world = site.world
    view = await world.confirmed()
    await world.consent(world.bob, view.id, Purpose.CARE)
    await world.consent(world.bob, view.id, Purpose.RECORDING, Answer.NO)
    link = await site.app[WAITING_ROOM].generate_call_link(world.bob, view.id)
    await site.app[HUB].join(link.access_token, Outbox())
    await site.app[SESSION_WATCH].look()
    assert places(site, view.id) == [Place.waiting]
    world.clock.now = view.starts_at
    await appointments.start(elsewhere, world.alice, view.id, now=world.clock())
    await site.app[SESSION_WATCH].look()
    assert places(site, view.id) == [Place.admitted]


class Seats:
    """As much of a hub as is asked; it can fail."""

    def __init__(self) -> None:
        self.sitting: tuple[str, ...] = ()
        self.ended: list[str] = []
        self.changed: list[str] = []
        self.fails = False
        self.heard = asyncio.Event()

    def appointments(self) -> tuple[str, ...]:
        return self.sitting

    async def session_changed(self, appointment_id: str) -> None:
        self.changed.append(appointment_id)
        if self.fails:
            raise RuntimeError("a socket is stuck")

    async def end(self, appointment_id: str, reason: str) -> None:
        self.ended.append(reason)
        self.heard.set()


async def test_recording_of_a_session_ended_by_another_process_stops(studio: Studio, elsewhere: Database) -> None:
    world, seats = studio.world, Seats()
    watch = SessionWatch(world.db, seats, studio.recordings)
    studio.admit(world.alice, world.bob)
    await studio.agree(world.bob)
    await studio.press(Pressed.ON)
    await watch.look()
    assert studio.recorder.recorded
    now = world.clock.forward(minutes=20)
    await appointments.complete(elsewhere, world.alice, studio.appointment_id, now=now)
    await watch.look()
    await studio.settled()
    assert studio.recorder.live == {}
    (view,) = await list_recordings(world.db, world.alice)
    assert view.state is RecordingState.READY
    assert seats.ended == ["no_show_client"]


async def test_what_did_not_change_is_told_once_and_what_failed_again(world: World, studio: Studio) -> None:
    seats = Seats()
    seats.sitting = (studio.appointment_id,)
    watch = SessionWatch(world.db, seats, studio.recordings)
    seats.fails = True
    await watch.look()
    seats.fails = False
    for _ in range(3):
        await watch.look()
    assert len(seats.changed) == 2


async def test_loop_looks_by_itself_and_ends_when_closed(studio: Studio, elsewhere: Database) -> None:
    world, seats = studio.world, Seats()
    seats.sitting = (studio.appointment_id,)
    watch = SessionWatch(world.db, seats, studio.recordings, interval_s=0.01)
    await watch.start()
    now = world.clock.forward(minutes=20)
    await appointments.complete(elsewhere, world.alice, studio.appointment_id, now=now)
    await asyncio.wait_for(seats.heard.wait(), 10)
    await watch.close()
