"""Recordings as control runs them: presses, consents, coming and going, ends, crashes."""

import asyncio
from datetime import timedelta

import pytest

from control import appointments, consents
from control import recordings as recordings_module
from control.accounts import Actor
from control.consents import Answer, Purpose
from control.errors import Conflict, Forbidden, NotFound, Unavailable
from control.recording_queries import get_recording, list_recordings
from control.recording_rule import ALONE_FOR, OFF, REASONS, Cause, Pressed, RecordingState, Shown
from media.types import ParticipantId, RoomId
from signaling.events import Entered, Left
from signaling.permissions import Admission, Place, Role
from tests.control.recording_studio import KEEP, Studio, eventually, recordings_of


async def test_it_records_both_under_their_consents_when_both_agreed(studio: Studio) -> None:
    world = studio.world
    studio.admit(world.alice, world.bob)
    await studio.agree(world.bob)
    assert await studio.press(Pressed.ON) == Shown("recording")
    standing = await world.agreed_to_recording(studio.appointment_id)
    begun, *included = studio.recorder.calls
    assert begun == ("start", f"session_{studio.appointment_id}")
    assert set(included) == {
        ("include", person.person_id, person.name, standing[person.person_id].consent_id)
        for person in (world.alice, world.bob)
    }
    assert studio.recorder.recorded == {world.alice.person_id, world.bob.person_id}
    assert await studio.recordings.state_of(studio.appointment_id) == Shown("recording")
    assert studio.hub.told == 1


async def test_pressing_record_is_the_practitioners_own_yes(studio: Studio) -> None:
    await studio.press(Pressed.ON)
    standing = await studio.world.agreed_to_recording(studio.appointment_id)
    assert set(standing) == {studio.world.alice.person_id}


@pytest.mark.parametrize("said", [None, Answer.NO])
async def test_without_everybodys_yes_nothing_is_recorded(studio: Studio, said: Answer | None) -> None:
    studio.admit(studio.world.alice, studio.world.bob)
    if said is not None:
        await studio.agree(studio.world.bob, said)
    shown = await studio.press(Pressed.ON)
    cause = Cause.UNANSWERED if said is None else Cause.REFUSED
    assert shown == ("paused", REASONS[cause], cause)
    assert studio.recorder.calls == []


async def test_a_later_yes_lets_it_run(studio: Studio) -> None:
    studio.admit(studio.world.alice, studio.world.bob)
    await studio.press(Pressed.ON)
    await studio.agree(studio.world.bob)
    assert studio.recorder.recorded == {studio.world.alice.person_id, studio.world.bob.person_id}


async def test_a_withdrawal_excludes_that_person_first_and_pauses_for_all(studio: Studio) -> None:
    world = studio.world
    studio.admit(world.alice, world.bob)
    await studio.agree(world.bob)
    await studio.press(Pressed.ON)
    studio.recorder.calls.clear()
    await studio.withdraw(world.bob)
    assert studio.recorder.calls == [("exclude", world.bob.person_id), ("pause",)]
    assert studio.recorder.recorded == set()
    assert await studio.state() is RecordingState.PAUSED
    await studio.agree(world.bob)
    assert studio.recorder.recorded == {world.alice.person_id, world.bob.person_id}


async def test_a_withdrawal_is_not_undone_by_what_was_decided_before_it(studio: Studio) -> None:
    """The rule was read while both agreed; the withdrawal comes while the recorder is being asked."""
    world, recorder = studio.world, studio.recorder
    studio.admit(world.alice, world.bob)
    await studio.agree(world.bob)
    begin = recorder.start

    async def start(recording_id: str, room: RoomId) -> None:
        await begin(recording_id, room)
        await consents.withdraw(world.db, world.bob, studio.appointment_id, Purpose.RECORDING, now=world.clock())

    recorder.start = start  # type: ignore[method-assign]
    await studio.press(Pressed.ON)
    await studio.settled()
    assert [call for call in recorder.calls if call[:2] == ("include", world.bob.person_id)] == []
    recorder.start = begin  # type: ignore[method-assign]
    await studio.agree(world.bob)
    assert recorder.recorded == {world.alice.person_id, world.bob.person_id}


async def test_stop_takes_nothing_more_though_the_database_is_away(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = studio.world
    studio.admit(world.alice, world.bob)
    await studio.agree(world.bob)
    await studio.press(Pressed.ON)
    stored = world.db.transaction

    def away() -> object:
        if studio.recorder.fails:
            raise RuntimeError("the database is away")
        return stored()

    monkeypatch.setattr(world.db, "transaction", away)
    studio.recorder.fails["include"] = "core_failed"
    with pytest.raises(RuntimeError, match="away"):
        await studio.recordings.reconcile_recording(studio.appointment_id)
    await studio.settled()
    assert studio.recorder.live == {}
    studio.recorder.fails = {"start": "wrong_state"}  # what the recorder says of a journal that is there already
    monkeypatch.undo()
    await studio.recordings.reconcile_recording(studio.appointment_id)
    await studio.settled()
    assert await studio.state() is RecordingState.READY


class Away(RuntimeError):
    """What a database raises that went away."""


@pytest.mark.parametrize("what", ["reading", "transaction"])
async def test_a_rule_that_cannot_be_read_or_noted_pauses_until_it_can(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Somebody without a yes comes in just as the database is away for a moment."""
    world, recorder = studio.world, studio.recorder
    monkeypatch.setattr(recordings_module, "TRY_AGAIN_FIRST_S", 0.01)
    studio.admit(world.alice)
    await studio.press(Pressed.ON)
    told = studio.hub.told
    studio.admit(world.bob)
    works = getattr(world.db, what)

    def away() -> object:
        monkeypatch.setattr(world.db, what, works)
        raise Away

    monkeypatch.setattr(world.db, what, away)
    with pytest.raises(Away):
        await studio.recordings.reconcile_recording(studio.appointment_id)
    assert recorder.recorded == set()
    assert (await studio.recordings.state_of(studio.appointment_id))[0] == "paused"
    assert studio.hub.told == told + 1
    await eventually(lambda: studio.hub.told == told + 2)
    assert await studio.state() is RecordingState.PAUSED
    await studio.agree(world.bob)
    assert recorder.recorded == {world.alice.person_id, world.bob.person_id}


@pytest.mark.parametrize(("error", "raised", "traced"), [(Away, Away, True), (TimeoutError, Unavailable, False)])
async def test_it_goes_on_by_itself_when_the_rule_can_be_read_again(
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[Exception],
    raised: type[Exception],
    traced: bool,
) -> None:
    """The row says `recording` all the time. A machine that is only too busy leaves a line, no traceback."""
    world, recorder = studio.world, studio.recorder
    monkeypatch.setattr(recordings_module, "TRY_AGAIN_FIRST_S", 0.01)
    studio.admit(world.alice)
    await studio.press(Pressed.ON)
    works, left = world.db.reading, [error(), error()]

    def away() -> object:
        if left:
            raise left.pop()
        return works()

    monkeypatch.setattr(world.db, "reading", away)
    with pytest.raises(raised):
        await studio.recordings.reconcile_recording(studio.appointment_id)
    assert recorder.recorded == set()
    await eventually(lambda: recorder.recorded == {world.alice.person_id})
    await studio.settled()
    assert await studio.recordings.state_of(studio.appointment_id) == Shown("recording")
    assert recorder.calls.count(("pause",)) == 1
    assert any(one.exc_info for one in caplog.records) is traced
    assert ("recording rule not read" in caplog.text) is not traced


async def test_a_recorder_that_cannot_pause_is_stopped(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.admit(studio.world.alice)
    await studio.press(Pressed.ON)
    studio.recorder.fails["pause"] = "core_failed"

    def away() -> object:
        raise Away

    monkeypatch.setattr(studio.world.db, "reading", away)
    with pytest.raises(Away):
        await studio.recordings.reconcile_recording(studio.appointment_id)
    await studio.settled()
    assert studio.recorder.live == {}


async def test_it_goes_on_when_the_one_who_refused_has_left(studio: Studio) -> None:
    world = studio.world
    studio.admit(world.alice, world.bob)
    await studio.agree(world.bob, Answer.NO)
    await studio.press(Pressed.ON)
    del studio.hub.people[world.bob.person_id]
    left = Left(admission_of(studio, world.bob), "left")
    studio.hub.listeners[0](left)
    await studio.settled()
    assert studio.recorder.recorded == {world.alice.person_id}


def admission_of(studio: Studio, who: Actor) -> Admission:
    room = RoomId(f"session_{studio.appointment_id}")
    return Admission(
        studio.appointment_id,
        room,
        who.person_id,
        ParticipantId(who.person_id),
        Role.client,
        who.name,
        Place.admitted,
        frozenset(),
    )


@pytest.mark.parametrize("way_out", ["agrees", "leaves"])
async def test_who_enters_without_a_yes_pauses_it_for_all_until_they_agree_or_leave(
    studio: Studio, way_out: str
) -> None:
    world = studio.world
    studio.admit(world.alice)
    await studio.press(Pressed.ON)
    assert studio.recorder.recorded == {world.alice.person_id}
    studio.admit(world.bob)
    studio.hub.listeners[0](Entered(admission_of(studio, world.bob)))
    await studio.settled()
    assert studio.recorder.recorded == set()
    assert (await studio.recordings.state_of(studio.appointment_id)).state == "paused"
    if way_out == "agrees":
        await studio.agree(world.bob)
        await eventually(lambda: studio.recorder.recorded == {world.alice.person_id, world.bob.person_id})
    else:
        del studio.hub.people[world.bob.person_id]
        studio.hub.listeners[0](Left(admission_of(studio, world.bob), "left"))
        await eventually(lambda: studio.recorder.recorded == {world.alice.person_id})
    await studio.settled()
    assert (await studio.recordings.state_of(studio.appointment_id)).state == "recording"


async def test_somebody_who_waits_outside_does_not_pause_it(studio: Studio) -> None:
    studio.admit(studio.world.alice)
    studio.hub.people[studio.world.bob.person_id] = Place.waiting
    assert (await studio.press(Pressed.ON))[0] == "recording"


async def test_pausing_and_going_on(studio: Studio) -> None:
    studio.admit(studio.world.alice)
    await studio.press(Pressed.ON)
    assert (await studio.press(Pressed.PAUSED))[0] == "paused"
    assert studio.recorder.recorded == set()
    assert (await studio.press(Pressed.ON))[0] == "recording"
    assert studio.recorder.recorded == {studio.world.alice.person_id}


async def test_two_presses_at_once_start_one_recording(studio: Studio) -> None:
    studio.admit(studio.world.alice)
    await asyncio.gather(*(studio.press(Pressed.ON) for _ in range(5)))
    assert [call[0] for call in studio.recorder.calls].count("start") == 1
    assert await studio.state() is RecordingState.RECORDING


async def test_stopping_finishes_and_lists_the_files(studio: Studio) -> None:
    recording_id = await studio.ready()
    view = await get_recording(studio.world.db, studio.world.alice, recording_id)
    (file,) = view.files
    assert (view.length_s, view.complete, file.name, file.offset_s) == (61.0, True, "Bob Client", 0.5)
    assert file.url == f"/api/recordings/{recording_id}/files/1-camera"
    assert view.expires_at == studio.world.clock() + KEEP
    assert await studio.recordings.state_of(studio.appointment_id) == OFF
    assert sorted(await studio.audited(recording_id)) == [
        "recording.ready",
        "recording.record_pressed",
        "recording.resumed",
        "recording.stop_pressed",
        "recording.stopped",
    ]


async def test_the_end_of_the_session_ends_the_recording(studio: Studio) -> None:
    studio.admit(studio.world.alice)
    await studio.press(Pressed.ON)
    await studio.end()
    assert await studio.state() is RecordingState.READY
    assert studio.recorder.live == {}


async def test_a_recording_in_which_nothing_was_recorded_disappears(studio: Studio) -> None:
    studio.admit(studio.world.alice, studio.world.bob)
    await studio.press(Pressed.ON)
    await studio.press(Pressed.OFF)
    await studio.settled()
    assert await list_recordings(studio.world.db, studio.world.alice) == ()


async def test_it_looks_by_itself_whether_somebody_is_still_alone(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings_module, "ALONE_FOR", timedelta(milliseconds=20))
    monkeypatch.setattr("control.recording_rule.ALONE_FOR", timedelta(milliseconds=20))
    studio.admit(studio.world.alice)
    await studio.press(Pressed.ON)
    studio.world.clock.now += timedelta(seconds=1)
    await eventually(lambda: studio.recorder.recorded == set())


async def test_a_recorder_that_cannot_start_ends_it_with_a_reason(studio: Studio) -> None:
    studio.recorder.fails["start"] = "media_gone"
    studio.admit(studio.world.alice)
    assert (await studio.press(Pressed.ON))[0] == "off"
    await studio.settled()
    assert studio.recorder.recorded == set()


async def test_a_full_disk_ends_it_and_keeps_what_was_stored(studio: Studio) -> None:
    studio.admit(studio.world.alice)
    await studio.press(Pressed.ON)
    (recording_id,) = studio.recorder.live
    studio.recorder.listeners[0](recording_id, "disk_full")
    await studio.settled()
    view = await get_recording(studio.world.db, studio.world.alice, recording_id)
    assert (view.state, view.failure) == (RecordingState.READY, "disk_full")
    shown = await studio.recordings.state_of(studio.appointment_id)
    assert (shown.state, shown.cause) == ("off", Cause.DISK_FULL)
    assert studio.hub.told == 2
    state = await appointments.get_for(studio.world.db, studio.world.alice, studio.appointment_id)
    assert state.state == "in_progress"
    assert (await studio.press(Pressed.ON)).state == "recording"


async def test_somebody_left_alone_is_recorded_no_longer_than_a_minute(studio: Studio) -> None:
    world = studio.world
    studio.admit(world.alice, world.bob)
    await studio.agree(world.bob)
    await studio.press(Pressed.ON)
    del studio.hub.people[world.bob.person_id]
    await studio.recordings.reconcile_recording(studio.appointment_id)
    assert world.alice.person_id in studio.recorder.recorded
    world.clock.now += ALONE_FOR
    await studio.recordings.reconcile_recording(studio.appointment_id)
    assert studio.recorder.recorded == set()
    assert (await studio.recordings.state_of(studio.appointment_id)).cause is Cause.ALONE
    studio.admit(world.bob)
    await studio.recordings.reconcile_recording(studio.appointment_id)
    assert studio.recorder.recorded == {world.alice.person_id, world.bob.person_id}


async def test_a_failed_finish_is_told(studio: Studio) -> None:
    studio.recorder.fails["finish"] = "finish_failed"
    studio.admit(studio.world.alice)
    await studio.press(Pressed.ON)
    await studio.press(Pressed.OFF)
    await studio.settled()
    assert await studio.state() is RecordingState.FAILED


async def test_after_a_crash_the_old_recording_is_finished_and_a_new_one_goes_on(studio: Studio) -> None:
    world = studio.world
    studio.admit(world.alice)
    await studio.press(Pressed.ON)
    await studio.recordings.close()
    studio.recorder.live.clear()
    again = recordings_of(world, studio.recorder, studio.hub, studio.archive)
    await again.start()
    studio.recordings = again
    await studio.settled()
    await again.reconcile_recording(studio.appointment_id)
    states = [view.state for view in await list_recordings(world.db, world.alice)]
    assert sorted(states) == [RecordingState.READY, RecordingState.RECORDING]
    assert studio.recorder.recorded == {world.alice.person_id}


async def test_what_could_not_be_finished_is_tried_again_at_the_next_start(studio: Studio) -> None:
    studio.recorder.fails["finish"] = "finish_failed"
    studio.admit(studio.world.alice)
    await studio.press(Pressed.ON)
    await studio.press(Pressed.OFF)
    await studio.settled()
    await studio.recordings.close()
    studio.recorder.fails.clear()
    studio.recordings = recordings_of(studio.world, studio.recorder, studio.hub, studio.archive)
    await studio.recordings.start()
    await studio.settled()
    (view,) = await list_recordings(studio.world.db, studio.world.alice)
    assert (view.state, view.failure) == (RecordingState.READY, None)


async def test_what_could_not_be_finished_is_tried_again_now_and_then(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings_module, "FINISH_AGAIN_S", 0.01)
    studio.recorder.fails["finish"] = "finish_failed"
    studio.admit(studio.world.alice)
    await studio.press(Pressed.ON)
    await studio.press(Pressed.OFF)
    await studio.settled()
    again = recordings_of(studio.world, studio.recorder, studio.hub, studio.archive)
    await again.start()
    await asyncio.gather(*again._tasks)
    assert await studio.state() is not RecordingState.READY
    studio.recorder.fails.clear()
    while await studio.state() is not RecordingState.READY:  # noqa: ASYNC110 — it has no event of its own
        await asyncio.sleep(0.01)
    await again.close()


async def test_only_the_practitioner_presses(studio: Studio) -> None:
    world = studio.world
    with pytest.raises(Forbidden):
        await studio.press(Pressed.ON, world.bob)
    with pytest.raises(Forbidden):
        await studio.press(Pressed.OFF, world.dana)
    with pytest.raises(NotFound):
        await studio.press(Pressed.ON, world.charlie)
    with pytest.raises(Conflict) as refused:
        await studio.press(Pressed.PAUSED)
    assert refused.value.code == "not_recording"
    assert await studio.press(Pressed.OFF) == OFF


async def test_a_session_that_does_not_run_is_not_recorded(studio: Studio) -> None:
    await studio.end()
    with pytest.raises(Conflict) as refused:
        await studio.press(Pressed.ON)
    assert refused.value.code == "not_in_progress"
