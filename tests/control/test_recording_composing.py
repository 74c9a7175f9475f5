"""The queue that makes one film of everybody: progress, cancelling, asking again, going on after a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from control.errors import Conflict, NotFound
from control.recording_composing import Composer
from control.recording_queries import RecordingView, get_recording
from control.recording_rule import Composition, Pressed
from tests.control.recording_studio import Studio, eventually


@asynccontextmanager
async def running(studio: Studio) -> AsyncIterator[Composer]:
    composer = Composer(studio.world.db, studio.recorder, studio.world.clock)
    await composer.start()
    try:
        yield composer
    finally:
        await composer.close()


async def seen(studio: Studio, recording_id: str) -> RecordingView:
    return await get_recording(studio.world.db, studio.world.alice, recording_id)


async def becomes(studio: Studio, recording_id: str, state: Composition) -> RecordingView:
    async with asyncio.timeout(10):
        while (view := await seen(studio, recording_id)).composition is not state:  # noqa: ASYNC110 — it has no event
            await asyncio.sleep(0.005)
    return view


async def test_every_finished_recording_becomes_one_film(studio: Studio) -> None:
    recording_id = await studio.ready()
    assert (await seen(studio, recording_id)).composition is Composition.WAITING
    async with running(studio) as composer:
        await asyncio.wait_for(studio.recorder.composing.wait(), 10)
        assert composer.share_of(recording_id) == 0.5
        studio.recorder.may_compose.set()
        view = await becomes(studio, recording_id, Composition.READY)
    assert view.composed is not None
    assert view.composed.url == f"/api/recordings/{recording_id}/files/composed"
    assert [file.file_id for file in view.files] == ["1-camera"]
    assert view.thumbnail is not None
    assert [(mark.at_s, mark.title) for mark in view.chapters] == [(0.0, "Bob Client is recorded"), (30.0, "Paused")]
    assert composer.share_of(recording_id) is None
    await studio.archive.open_file(studio.world.alice, recording_id, "composed")


async def test_what_still_runs_is_not_composed(studio: Studio) -> None:
    studio.admit(studio.world.alice)
    await studio.press(Pressed.ON)
    (recording_id,) = studio.recorder.live
    with pytest.raises(Conflict) as refused:
        await studio.composer.ask(studio.world.alice, recording_id)
    assert refused.value.code == "not_ready"


async def test_cancelling_stops_the_work_and_asking_again_goes_on_with_it(studio: Studio) -> None:
    recording_id, recorder = await studio.ready(), studio.recorder
    async with running(studio) as composer:
        await asyncio.wait_for(recorder.composing.wait(), 10)
        await composer.cancel(studio.world.alice, recording_id)
        assert (await becomes(studio, recording_id, Composition.CANCELLED)).composed is None
        assert ("stop_composing",) in recorder.calls
        await composer.cancel(studio.world.alice, recording_id)
        assert recorder.calls.count(("stop_composing",)) == 1
        recorder.may_compose.set()
        await composer.ask(studio.world.alice, recording_id)
        await becomes(studio, recording_id, Composition.READY)
    assert recorder.calls.count(("compose", recording_id)) == 2


async def test_a_restart_goes_on_with_what_was_being_made(studio: Studio) -> None:
    recording_id, recorder = await studio.ready(), studio.recorder
    async with running(studio):
        await asyncio.wait_for(recorder.composing.wait(), 10)
    assert ("compose_stopped",) in recorder.calls
    assert (await seen(studio, recording_id)).composition is Composition.WAITING
    recorder.may_compose.set()
    async with running(studio):
        await becomes(studio, recording_id, Composition.READY)


@pytest.mark.parametrize(("code", "state"), [("finish_failed", Composition.FAILED), ("wrong_state", Composition.NONE)])
async def test_a_film_that_cannot_be_made_leaves_the_recording_as_it_is(
    studio: Studio, code: str, state: Composition
) -> None:
    recording_id = await studio.ready()
    studio.recorder.fails["compose"] = code
    async with running(studio) as composer:
        view = await becomes(studio, recording_id, state)
        assert len(view.files) == 1
        studio.recorder.fails.clear()
        studio.recorder.may_compose.set()
        await composer.ask(studio.world.alice, recording_id)
        await becomes(studio, recording_id, Composition.READY)


async def test_what_was_deleted_meanwhile_does_not_come_back(studio: Studio) -> None:
    recording_id, recorder = await studio.ready(), studio.recorder
    async with running(studio) as composer:
        await asyncio.wait_for(recorder.composing.wait(), 10)
        await studio.archive.delete(studio.world.alice, recording_id)
        recorder.may_compose.set()
        await eventually(lambda: composer.share_of(recording_id) is None)
    with pytest.raises(NotFound):
        await seen(studio, recording_id)
