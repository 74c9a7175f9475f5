"""Finished recordings: who sees them, sharing, the access log, legal hold, deleting, people's erasures, retention."""

import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from control.accounts import Actor
from control.errors import Conflict, Forbidden, NotFound
from control.models.outbox import OutboxRow
from control.paging import Wanted
from control.recording_access import Look, looks_at
from control.recording_queries import get_recording, list_recordings
from control.recording_rule import Composition, Pressed, RecordingState
from tests.control.recording_studio import KEEP, NOTICE, File, RecorderError, Studio


async def test_nobody_but_the_practitioner_sees_or_changes_it(studio: Studio) -> None:
    recording_id = await studio.ready()
    world = studio.world
    for stranger in (world.bob, world.charlie, world.erin, world.dana):
        assert await list_recordings(world.db, stranger) == ()
        with pytest.raises(NotFound):
            await get_recording(world.db, stranger, recording_id)
        with pytest.raises(NotFound):
            await studio.archive.open_file(stranger, recording_id, "1-camera")
        for change in (
            studio.archive.delete(stranger, recording_id),
            studio.archive.share(stranger, recording_id, shared=True),
            studio.composer.ask(stranger, recording_id),
            studio.composer.cancel(stranger, recording_id),
        ):
            with pytest.raises(NotFound):
                await change
    for stranger in (world.bob, world.charlie, world.erin):
        with pytest.raises(NotFound):
            await studio.archive.hold(stranger, recording_id, "a reason")


async def test_a_viewing_is_audited_once_however_many_ranges_it_takes(studio: Studio) -> None:
    recording_id = await studio.ready()
    for _ in range(3):
        await studio.archive.open_file(studio.world.alice, recording_id, "1-camera")
    assert (await studio.audited(recording_id)).count("recording.viewed") == 1
    studio.world.clock.now += timedelta(minutes=11)
    await studio.archive.open_file(studio.world.alice, recording_id, "1-camera")
    assert (await studio.audited(recording_id)).count("recording.viewed") == 2
    with pytest.raises(NotFound):
        await studio.archive.open_file(studio.world.alice, recording_id, "2-camera")


async def test_deleting_erases_and_is_audited(studio: Studio) -> None:
    recording_id = await studio.ready()
    await studio.archive.delete(studio.world.alice, recording_id)
    assert studio.recorder.on_disk == set()
    assert await list_recordings(studio.world.db, studio.world.alice) == ()
    assert "recording.deleted" in await studio.audited(recording_id)
    with pytest.raises(NotFound):
        await studio.archive.delete(studio.world.alice, recording_id)


async def test_what_still_runs_is_not_deleted(studio: Studio) -> None:
    studio.admit(studio.world.alice)
    await studio.press(Pressed.ON)
    (recording_id,) = studio.recorder.live
    with pytest.raises(Conflict):
        await studio.archive.delete(studio.world.alice, recording_id)


async def test_what_is_being_finished_again_is_not_deleted(studio: Studio) -> None:
    recording_id = await studio.ready()
    studio.recorder.fails["delete"] = "still_finishing"
    with pytest.raises(Conflict) as refused:
        await studio.archive.delete(studio.world.alice, recording_id)
    assert refused.value.code == "still_finishing"
    assert await studio.state() is RecordingState.READY


@pytest.mark.parametrize("by_hand", [True, False])
async def test_a_recording_counts_as_deleted_only_once_its_files_are_gone(studio: Studio, by_hand: bool) -> None:
    recording_id, recorder = await studio.ready(), studio.recorder
    studio.world.clock.now += KEEP
    await studio.archive.warn()
    studio.world.clock.now += NOTICE

    async def delete() -> None:
        if by_hand:
            await studio.archive.delete(studio.world.alice, recording_id)
        else:
            await studio.archive.purge()

    recorder.fails["delete"] = "disk_failed"
    with contextlib.suppress(RecorderError):
        await delete()
    assert await studio.state() is RecordingState.READY
    recorder.fails.clear()
    await delete()
    assert recorder.on_disk == set()
    assert await list_recordings(studio.world.db, studio.world.alice) == ()


async def outbox(studio: Studio, kind: str) -> list[str]:
    """Whom e-mails of this kind are owed to."""
    async with studio.world.db.reading() as session:
        rows = await session.scalars(select(OutboxRow).where(OutboxRow.kind == kind, OutboxRow.channel == "email"))
        return [row.person_id for row in rows]


async def test_the_client_sees_it_while_it_is_shared_and_is_told(studio: Studio) -> None:
    recording_id, world = await studio.ready(), studio.world
    assert await outbox(studio, "recording_ready") == [world.alice.person_id]
    await studio.archive.share(world.alice, recording_id, shared=True)
    await studio.archive.share(world.alice, recording_id, shared=True)
    assert sorted(await outbox(studio, "recording_ready")) == sorted([world.alice.person_id, world.bob.person_id])
    (listed,) = await list_recordings(world.db, world.bob, shared=True)
    assert (listed.id, listed.is_own) == (recording_id, False)
    await studio.archive.open_file(world.bob, recording_id, "1-camera")
    for stranger in (world.charlie, world.erin, world.dana):
        assert await list_recordings(world.db, stranger, shared=True) == ()
        with pytest.raises(NotFound):
            await studio.archive.open_file(stranger, recording_id, "1-camera")
    with pytest.raises(NotFound):
        await studio.archive.delete(world.bob, recording_id)
    await studio.archive.share(world.alice, recording_id, shared=False)
    assert await list_recordings(world.db, world.bob, shared=True) == ()
    with pytest.raises(NotFound):
        await studio.archive.open_file(world.bob, recording_id, "1-camera")
    assert (await studio.audited(recording_id)).count("recording.shared") == 1


async def looks(studio: Studio, who: Actor) -> tuple[Look, ...]:
    return (await looks_at(studio.world.db, who, Wanted())).rows


async def test_the_client_reads_who_looked_and_a_stranger_does_not(studio: Studio) -> None:
    recording_id, world = await studio.ready(), studio.world
    await studio.archive.open_file(world.alice, recording_id, "1-camera")
    world.clock.now += timedelta(minutes=1)
    await studio.archive.open_file(world.alice, recording_id, "1-camera", download=True)
    world.clock.now += timedelta(minutes=1)
    await studio.archive.open_file(world.alice, recording_id, "thumbnail")
    world.clock.now += timedelta(minutes=1)
    await studio.archive.delete(world.alice, recording_id)
    expected = ["Deleted it", "Saw its small picture", "Downloaded it", "Watched it"]
    seen = await looks(studio, world.bob)
    assert [look.what for look in seen] == expected
    assert {(look.who, look.is_you) for look in seen} == {("Alice Owner", False)}
    assert [look.is_you for look in await looks(studio, world.alice)] == [True] * 4
    for stranger in (world.charlie, world.erin, world.dana):
        assert await looks(studio, stranger) == ()


async def test_what_is_not_finished_is_not_shared(studio: Studio) -> None:
    studio.admit(studio.world.alice)
    await studio.press(Pressed.ON)
    (recording_id,) = studio.recorder.live
    with pytest.raises(Conflict) as refused:
        await studio.archive.share(studio.world.alice, recording_id, shared=True)
    assert refused.value.code == "not_ready"


async def test_a_legal_hold_keeps_it_from_everybody_and_past_its_time(studio: Studio) -> None:
    recording_id, world = await studio.ready(), studio.world
    await studio.archive.hold(world.dana, recording_id, "a court has asked")
    await studio.withdraw(world.bob)
    for delete in (
        studio.archive.delete(world.alice, recording_id),
        studio.archive.forget_me(world.bob, studio.appointment_id),
    ):
        with pytest.raises(Conflict) as refused:
            await delete
        assert refused.value.code == "legal_hold"
    world.clock.now += KEEP * 2
    assert (await studio.archive.warn(), await studio.archive.purge()) == (0, 0)
    await studio.archive.hold(world.alice, recording_id, None)
    assert (await studio.archive.warn(), await studio.archive.purge()) == (1, 0)
    world.clock.now += NOTICE
    assert await studio.archive.purge() == 1
    assert studio.recorder.on_disk == set()


async def test_retention_tells_the_practitioner_and_deletes_in_time(studio: Studio) -> None:
    await studio.ready()
    studio.world.clock.now += KEEP - NOTICE - timedelta(seconds=1)
    assert await studio.archive.warn() == 0
    studio.world.clock.now += timedelta(seconds=1)
    assert (await studio.archive.warn(), await studio.archive.warn()) == (1, 0)
    assert await outbox(studio, "recording_deleted_soon") == [studio.world.alice.person_id]
    studio.world.clock.now += NOTICE - timedelta(seconds=1)
    assert await studio.archive.purge() == 0
    studio.world.clock.now += timedelta(seconds=1)
    assert (await studio.archive.purge(), await studio.archive.purge()) == (1, 0)
    assert studio.recorder.on_disk == set()


async def test_nothing_is_deleted_untold_after_the_server_was_off(studio: Studio) -> None:
    recording_id = await studio.ready()
    studio.world.clock.now += KEEP * 2
    assert await studio.archive.purge() == 0
    assert await studio.archive.warn() == 1
    view = await get_recording(studio.world.db, studio.world.alice, recording_id)
    assert view.expires_at == studio.world.clock() + NOTICE


def both(studio: Studio) -> None:
    """The recorder makes a file of each."""
    alice, bob = studio.world.alice, studio.world.bob
    files = (File("1-camera", alice.person_id, alice.name), File("2-camera", bob.person_id, bob.name))
    studio.recorder.finished = replace(studio.recorder.finished, files=files)


async def test_a_withdrawal_offers_deletion_of_what_was_recorded_of_them(studio: Studio) -> None:
    both(studio)
    recording_id, world = await studio.ready(), studio.world
    with pytest.raises(Conflict) as refused:
        await studio.archive.forget_me(world.bob, studio.appointment_id)
    assert refused.value.code == "still_agreed"
    await studio.withdraw(world.bob)
    assert await studio.archive.forget_me(world.bob, studio.appointment_id) == 1
    view = await get_recording(world.db, world.alice, recording_id)
    assert [file.name for file in view.files] == [world.alice.name]
    assert (view.thumbnail, view.composed, view.erased) == (None, None, (world.bob.name,))
    assert view.composition is Composition.WAITING
    assert await studio.archive.forget_me(world.bob, studio.appointment_id) == 1
    assert [call for call in studio.recorder.calls if call[0] == "forget"] == [("forget", world.bob.person_id)]


async def test_what_held_nobody_else_is_deleted_whole(studio: Studio) -> None:
    studio.recorder.finished = replace(
        studio.recorder.finished, files=(File("2-camera", studio.world.bob.person_id, "Bob Client"),)
    )
    await studio.ready()
    await studio.withdraw(studio.world.bob)
    await studio.archive.forget_me(studio.world.bob, studio.appointment_id)
    assert await list_recordings(studio.world.db, studio.world.alice) == ()
    assert studio.recorder.on_disk == set()


async def test_deletion_asked_for_during_the_session_is_done_when_it_is_finished(studio: Studio) -> None:
    both(studio)
    world = studio.world
    studio.admit(world.alice, world.bob)
    await studio.agree(world.bob)
    await studio.press(Pressed.ON)
    await studio.withdraw(world.bob)
    await studio.archive.forget_me(world.bob, studio.appointment_id)
    assert ("forget", world.bob.person_id) not in studio.recorder.calls
    await studio.press(Pressed.OFF)
    await studio.settled()
    (view,) = await list_recordings(world.db, world.alice)
    assert [file.name for file in view.files] == [world.alice.name]


async def test_only_who_was_in_the_session_asks_for_deletion(studio: Studio) -> None:
    await studio.ready()
    for stranger, refusal in ((studio.world.charlie, NotFound), (studio.world.erin, NotFound)):
        with pytest.raises(refusal):
            await studio.archive.forget_me(stranger, studio.appointment_id)
    for other in (studio.world.alice, studio.world.dana):
        with pytest.raises(Forbidden):
            await studio.archive.forget_me(other, studio.appointment_id)
    assert not [call for call in studio.recorder.calls if call[0] == "forget"]
