"""Ratings: once, only after the session took place, and public only as far as their author wanted."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from control import appointments, ratings
from control.errors import Conflict, Forbidden, NotFound
from control.models.appointments import Appointment
from control.ratings import NewRating, Summary, summary_of
from tests.helpers.practice import World


async def completed(world: World) -> str:
    view = await world.started()
    async with world.db.transaction() as session:
        moment = world.clock()
        await session.execute(update(Appointment).values(client_admitted_at=moment, practitioner_admitted_at=moment))
    world.clock.forward(minutes=50)
    await appointments.complete(world.db, world.alice, view.id, now=world.clock())
    return view.id


async def test_public_rating_of_four_or_five_shows_at_once(world: World) -> None:
    session_id = await completed(world)
    given = NewRating(4, "Calm and kind", is_public=True)
    await ratings.rate(world.db, world.bob, session_id, given, now=world.clock())
    assert await ratings.summary(world.db, world.alice.person_id) == Summary(4.0, 1)
    assert [one.author_name for one in await ratings.reviews(world.db, world.alice.person_id)] == ["Bob"]


async def test_low_rating_becomes_public_only_by_a_second_yes(world: World) -> None:
    session_id = await completed(world)
    view = await ratings.rate(world.db, world.bob, session_id, NewRating(2, "Late", is_public=True), now=world.clock())
    assert view.awaits_confirmation
    assert await ratings.summary(world.db, world.alice.person_id) == Summary(None, 0)
    for _ in range(2):
        view = await ratings.confirm_publication(world.db, world.bob, session_id, now=world.clock())
        assert not view.awaits_confirmation
    assert await ratings.summary(world.db, world.alice.person_id) == Summary(2.0, 1)


async def test_private_rating_is_seen_by_nobody_outside(world: World) -> None:
    session_id = await completed(world)
    await ratings.rate(world.db, world.bob, session_id, NewRating(1, "Private"), now=world.clock())
    assert await ratings.summary(world.db, world.alice.person_id) == Summary(None, 0)
    assert await ratings.reviews(world.db, world.alice.person_id) == ()
    assert await ratings.mine(world.db, world.alice, session_id) is None
    with pytest.raises(NotFound):
        await ratings.confirm_publication(world.db, world.bob, session_id, now=world.clock())


async def test_practitioners_rating_of_a_client_is_never_public(world: World) -> None:
    session_id = await completed(world)
    view = await ratings.rate(world.db, world.alice, session_id, NewRating(5, "x", is_public=True), now=world.clock())
    assert not view.is_public
    assert await ratings.reviews(world.db, world.bob.person_id) == ()


async def test_second_rating_of_the_same_person_is_refused_and_a_repeat_is_answered(world: World) -> None:
    session_id = await completed(world)
    first = await ratings.rate(world.db, world.bob, session_id, NewRating(5), now=world.clock())
    assert await ratings.rate(world.db, world.bob, session_id, NewRating(5), now=world.clock()) == first
    with pytest.raises(Conflict) as refused:
        await ratings.rate(world.db, world.bob, session_id, NewRating(1), now=world.clock())
    assert refused.value.code == "already_rated"


async def test_session_that_did_not_take_place_is_not_rated(world: World) -> None:
    view = await world.scheduled()
    with pytest.raises(Conflict) as refused:
        await ratings.rate(world.db, world.bob, view.id, NewRating(5), now=world.clock())
    assert refused.value.code == "not_completed"
    world.clock.now = view.starts_at + timedelta(hours=1)
    await appointments.catch_up(world.db, view.id, now=world.clock())
    with pytest.raises(Conflict):
        await ratings.rate(world.db, world.bob, view.id, NewRating(5), now=world.clock())


async def test_stranger_rates_nothing(world: World) -> None:
    session_id = await completed(world)
    for who, problem in ((world.charlie, NotFound), (world.erin, NotFound), (world.dana, Forbidden)):
        with pytest.raises(problem):
            await ratings.rate(world.db, who, session_id, NewRating(1), now=world.clock())
    with pytest.raises(NotFound):
        await ratings.confirm_publication(world.db, world.charlie, session_id, now=world.clock())


@pytest.mark.parametrize(
    ("total", "count", "mean"), [(0, 0, None), (5, 1, 5.0), (9, 2, 4.5), (13, 3, 4.3), (14, 3, 4.7), (17, 4, 4.3)]
)
def test_mean_has_one_decimal(total: int, count: int, mean: float | None) -> None:
    assert summary_of(total, count) == Summary(mean, count)
